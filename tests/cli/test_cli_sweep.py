"""``sweep``: whole audits of shipped networks, one after another and on a cluster of two machines; what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from declared import NOT_SEARCHED
from phantom_files import write_phantom
from PIL import Image
from ray_machines import two_machines

from reid_audit.checking.options import CheckOptions
from reid_audit.cli import exit_code
from reid_audit.cli.check import check
from reid_audit.cli.sweep import OWN, SHARED, SweepOptions, sweep, words
from reid_audit.cohort import Cohort
from reid_audit.demo.targets import checkpoint_path, reference_films
from reid_audit.report import FILES
from reid_audit.report.sweep import SweepDocument
from reid_audit.sweep.manifest import Entry

POLICY = """
demographics = "off"
[gates.membership_tpr_at_1pct_fpr]
clear = 0.3
[gates.membership_auc]
clear = 0.8
[gates.linkage_p]
clear = 0.02
[budget]
steps = 2
particles = [4]
[references]
when = "off"
"""
POLICY += f"""{NOT_SEARCHED}
attack_power = false
membership_control = false
scorer_sensitivity = false
"""
TIMES = {"seconds", "spent_seconds", "started"}
"""Keys of a report that differ from run to run."""


def write_films(folder: Path, cohort: Cohort, patients: int) -> None:
    """One film each of the first ``patients`` of a cohort, with a table."""
    _, first = np.unique(cohort.patients, return_index=True)
    (folder / "images").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "patient_id"])
        for number in first[:patients]:
            pixels = (cohort.images[number, 0].numpy() * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
            table.writerow([f"images/{number}.png", cohort.patients[number]])


@dataclass(frozen=True, slots=True)
class Swept:
    """A finished sweep."""

    folder: Path
    code: int
    found: SweepDocument


def carried_out(folder: Path, table: str, out: str, *more: str) -> Swept:
    """``sweep`` in ``folder``, which has films, networks and a policy."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        code = exit_code(["sweep", table, "--holdout", "others", "--out", out, "--quiet", *more])
    finally:
        os.chdir(before)
    return Swept(folder, code, SweepDocument.model_validate_json((folder / out / "sweep.json").read_text()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("sweep")
    write_films(place / "few", reference_films("overfit_cnn"), 16)
    write_films(place / "many", reference_films("cnn"), 200)
    write_phantom(place / "others", 130, side=32, seed=202, films=(1, 1))
    for name in ("cnn", "overfit_cnn"):
        shutil.copyfile(checkpoint_path(name), place / f"{name}.safetensors")
    (place / "broken.pt").write_bytes(b"no network")
    (place / "reid-audit.toml").write_text(POLICY)
    good = ("checkpoint,reference", "cnn.safetensors,many", "overfit_cnn.safetensors,few")
    (place / "good.csv").write_text("\n".join(good) + "\n")
    (place / "all.csv").write_text("\n".join((*good[:2], "broken.pt,few", good[2])) + "\n")
    return place


@pytest.fixture(scope="module")
def swept(folder: Path) -> Swept:
    return carried_out(folder, "all.csv", "one-by-one")


def without_times(value: Any) -> Any:
    """A report without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def report_of(found: Swept, out: str, name: str) -> Any:
    (row,) = (row for row in found.found.rows if row.name == name)
    return without_times(json.loads((found.folder / out / row.report / "report.json").read_text()))


def test_one_fails_one_passes_one_is_broken(swept: Swept) -> None:
    assert swept.code == swept.found.exit_code == 3
    assert [(row.name, row.exit_code, row.row) for row in swept.found.rows] == [
        ("broken", 3, 3),
        ("overfit_cnn", 1, 4),
        ("cnn", 0, 2),
    ]
    for row in swept.found.rows[1:]:
        run = swept.folder / "one-by-one" / row.report
        assert {path.name for path in run.iterdir()} == {*FILES.values(), "restricted"}
        assert (run / "restricted" / "result.json").is_file()
        assert (run.parent / "latest").resolve() == run.resolve()
    assert (swept.folder / "one-by-one.cache").stat().st_mode & 0o777 == 0o700
    assert list((swept.folder / "one-by-one.cache").glob("films-*")), "films are shared until all have a verdict"


def test_an_audit_of_a_sweep_is_that_of_check(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.folder)
    reference = str(swept.folder / "few")
    words = ["--reference", reference, "--holdout", "others", "--out", "alone", "--quiet"]
    assert exit_code(["check", "overfit_cnn.safetensors", *words]) == 1
    alone = without_times(json.loads((swept.folder / "alone" / "latest" / "report.json").read_text()))
    assert report_of(swept, "one-by-one", "overfit_cnn") == alone


def test_started_again_it_does_what_is_missing(swept: Swept) -> None:
    out = swept.folder / "one-by-one"
    runs = sorted(out.glob("*/20*"))
    broken = swept.folder / "broken.pt"
    again = carried_out(swept.folder, "all.csv", "one-by-one")
    assert (again.code, sorted(out.glob("*/20*"))) == (3, runs)
    table = swept.folder / "mended.csv"
    table.write_text((swept.folder / "all.csv").read_text().replace("broken.pt,few\n", ""))
    mended = carried_out(swept.folder, "mended.csv", "one-by-one")
    assert (mended.code, len(mended.found.rows), sorted(out.glob("*/20*"))) == (1, 2, runs)
    assert not (swept.folder / "one-by-one.cache").exists(), "every audit has a verdict"
    assert broken.is_file()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two machines with one processor each, on this one."""
    with two_machines() as address:
        yield address


def test_two_machines_find_what_one_finds(swept: Swept, cluster: str) -> None:
    found = carried_out(swept.folder, "good.csv", "on-ray", "--ray-address", cluster)
    assert (found.code, [row.exit_code for row in found.found.rows]) == (1, [1, 0])
    for name in ("cnn", "overfit_cnn"):
        assert report_of(found, "on-ray", name) == report_of(swept, "one-by-one", name)


def test_what_no_machine_has_is_refused_and_not_waited_for(
    folder: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--ray-address", cluster, "--gpus-per-audit", "0.5")
    assert refused(folder, *asked, out="no-gpu") == 2
    assert "CPU 1, GPU 0.5" in capsys.readouterr().err


def refused(folder: Path, *words: str, out: str = "refused") -> int:
    """The exit code of a sweep that does not begin."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        code = exit_code(["sweep", "good.csv", "--holdout", "others", "--out", out, "--quiet", *words])
    finally:
        os.chdir(before)
    assert not (folder / out).exists()
    return code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--gpus-per-audit", "0.5"), 2, "go with --ray-address"),
        (("--cache", "refused/cache"), 2, "lies below --out"),
        (("--base", "nowhere.pt"), 3, "cannot read nowhere.pt"),
        (("--prior", "nowhere"), 3, "does not exist"),
        (("--policy", "nowhere.toml"), 2, "cannot read nowhere.toml"),
        (("--resume",), 2, "No such option"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_audit(
    folder: Path, words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(folder, *words) == code
    assert said in capsys.readouterr().err


def test_without_ray_there_is_a_refusal_in_three_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(folder, "--ray-address", "auto", out="no-ray") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["usage", "closest", "help"]
    assert "reid-audit[ray]" in lines[2]


def test_sigterm_ends_the_audit_under_way_too(folder: Path) -> None:
    command = [sys.executable, "-m", "reid_audit", "sweep", "good.csv", "--holdout", "others", "--out", "ended"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    log = folder / "ended" / "restricted" / "cnn-seed0.log"
    while not (log.is_file() and log.stat().st_size):
        assert process.poll() is None
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (child,) = children.read_text().split()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-3]) == (3, "not audited: interrupted")
    until = time.monotonic() + 30
    while runs(child):
        assert time.monotonic() < until, "the audit goes on"
        time.sleep(0.1)
    left = SweepDocument.model_validate_json((folder / "ended" / "sweep.json").read_text())
    assert [row.reason for row in left.rows] == ["not audited yet"] * 2


def runs(process: str) -> bool:
    """Whether a process does anything: one that was killed may wait for its parent to look."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_record_holds_the_options_of_the_command_with_their_defaults() -> None:
    with sweep.make_context("sweep", ["table.csv"]) as context:
        own = set(SweepOptions.model_fields) - set(CheckOptions.model_fields)
        assert set(context.params) == {*SHARED, *own, "out"}
        assert {*SHARED, *OWN} == {param.name for param in check.params}
        assert SweepOptions.model_validate(context.params) == SweepOptions(manifest=Path("table.csv"))


def test_an_audit_has_the_options_of_the_command_and_of_its_row() -> None:
    given = {"budget": 90.0, "side": 64, "formats": ("json",), "strata": ("view", "site"), "deterministic": True}
    options = SweepOptions.model_validate({"manifest": "t.csv", "label": "sex", "fail_on": "never", **given})
    entry = Entry(row=2, name="a", seed=3, checkpoint="a.pt", options={"side": 32})
    asked = options.of(entry)
    assert asked == CheckOptions.model_validate({"checkpoint": "a.pt", "seed": 3, "label": "sex", **given, "side": 32})
    with check.make_context("check", [*words(asked, Path("cache")), "a.pt"]) as context:
        assert CheckOptions.model_validate(context.params) == asked.model_copy(update={"cache": Path("cache")})
    assert isinstance(sweep, click.Command)
