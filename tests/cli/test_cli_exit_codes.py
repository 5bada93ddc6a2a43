"""Exit codes and three-line refusals, in real processes."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import needles
import numpy as np
import pytest
import torch
from declared import NOT_SEARCHED
from phantom_files import write_phantom
from PIL import Image
from safetensors.torch import save_file

from reid_audit.demo.targets import checkpoint_path
from reid_audit.report import FILES


def cli(*args: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reid_audit", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def make_bad(kind: str, folder: Path) -> Path:
    path = folder / "model.pt"
    if kind == "garbage":
        path.write_bytes(random.Random(0).randbytes(4096))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        torch.save({"a.weight": torch.randn(40, 40)}, path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "text":
        path.write_text("<!doctype html><title>404</title>")
    elif kind == "nan":
        tensors = {"conv1.weight": torch.full((4, 3, 3, 3), float("nan"))}
        path = folder / "model.safetensors"
        save_file(tensors, path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "unknown network":
        torch.save({"strange.weight": torch.randn(7, 5), "stranger.bias": torch.randn(3)}, path)
    elif kind == "torchscript":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))  # type: ignore[no-untyped-call]
    elif kind == "list":
        torch.save([torch.randn(2)], path)
    elif kind == "pickle with code":
        path.write_bytes(pickle.dumps({"state_dict": Evil()}))
    return path


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("garbage", 3),
        ("empty", 3),
        ("truncated", 3),
        ("text", 3),
        ("nan", 3),
        ("directory", 3),
        ("missing", 3),
        ("unknown network", 3),
        ("torchscript", 3),
        ("list", 3),
        ("pickle with code", 5),
    ],
)
def test_bad_files_get_three_lines_and_the_right_code(kind: str, code: int, tmp_path: Path) -> None:
    done = cli("check", make_bad(kind, tmp_path), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    first, *said = done.stderr.strip().splitlines()
    assert first.startswith("reid-audit ")
    *before, lines = said[:-3], said[-3:]
    assert kind == "unknown network" or not any(before), done.stderr
    assert [line.split(":")[0] for line in lines] == ["refused" if code == 5 else "not audited", "closest", "help"]
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "pwned").exists()


def test_the_first_line_comes_before_anything_heavy(tmp_path: Path) -> None:
    """A finder that is asked for every import tells when torch would be."""
    code = (
        "import sys\n"
        "class Told:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'numpy', 'scipy'): sys.stderr.write(f'HEAVY {name}\\n')\n"
        "sys.meta_path.insert(0, Told())\n"
        "import reid_audit.cli as c\n"
        f"sys.exit(c.exit_code(['check', {str(checkpoint_path('cnn'))!r}, '--reference', 'nowhere']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 3
    assert lines[0].startswith("reid-audit ")
    assert any(line.startswith("HEAVY") for line in lines[1:])


def test_help_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['x', '--help']\nimport reid_audit.cli as c\nc.exit_code(['--help'])\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("check",),
        ("check", "x.pt", "--budget", "soon"),
        ("check", "x.pt", "--budget", "3"),
        ("check", "x.pt", "--method", "magic"),
        ("nonsense",),
    ],
)
def test_usage_errors_are_two(args: tuple[str, ...], tmp_path: Path) -> None:
    assert cli(*args, cwd=tmp_path).returncode == 2


def test_a_crash_is_not_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reid_audit import cli as command_line

    def explode(*_: object, **__: object) -> int:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(command_line.main, "main", explode)
    assert command_line.exit_code([]) == 3


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, patients, seed in (("reference", 60, 1), ("holdout", 60, 2), ("prior", 80, 3)):
        write_phantom(folder / name, patients, side=32, seed=seed, films=(1, 1))
    return folder


@pytest.fixture(scope="module")
def finished(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "reid-audit.toml").write_text(
        "[references]\nwhen = 'off'\n[budget]\nsteps = 3\nparticles = [4]\n" + NOT_SEARCHED
    )
    done = cli(
        "check",
        checkpoint_path("cnn"),
        *("--reference", films / "reference", "--holdout", films / "holdout", "--prior", films / "prior"),
        *("--out", "out"),
        cwd=folder,
    )
    return folder, done


def test_an_empty_folder_of_films_is_refused_before_the_attack(films: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    done = cli(
        *("check", checkpoint_path("cnn"), "--reference", films / "reference", "--holdout", "nothing"), cwd=tmp_path
    )
    assert done.returncode == 3
    assert "nothing holds no images" in done.stderr
    assert not (tmp_path / "reid-audit-report").exists()


def test_check_writes_reports_and_exits_with_its_verdict(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = finished
    assert done.returncode == 4, done.stderr
    report = json.loads((folder / "out" / "latest" / "report.json").read_text())
    assert (report["verdict"]["outcome"], report["verdict"]["exit_code"]) == ("inconclusive", 4)
    for name in ("report.html", "report.md", "report.sarif", "report.junit.xml", "restricted/evidence.html"):
        assert (folder / "out" / "latest" / name).stat().st_size > 0
    assert (folder / "out" / "latest" / "restricted").stat().st_mode & 0o777 == 0o700
    assert "INCONCLUSIVE" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_public_file_holds_a_film_or_names_a_patient(
    films: Path, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """A whole audit: what it writes for the public, and what it says, against what it was given."""
    folder, done = finished
    names, pictures = set(), []
    for side in ("reference", "holdout", "prior"):
        for line in (films / side / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]:
            names |= {cell for cell in line.split(",")[:2] if len(cell) > 5}
        pictures += [np.asarray(Image.open(path)) for path in sorted((films / side).rglob("*.png"))[:8]]
    sought = needles.of_films(pictures) | needles.of_patients(names)
    public = {path.name: path.read_bytes() for path in (folder / "out" / "latest").iterdir() if path.is_file()}
    assert set(public) == set(FILES.values())
    for name, content in {**public, "terminal": (done.stdout + done.stderr).encode()}.items():
        assert needles.found_in(content, sought) == set(), name
    assert needles.found_in((folder / "out" / "latest" / "restricted" / "evidence.html").read_bytes(), sought)
    assert not set(public) & {path.name for path in (folder / "out" / "latest" / "restricted").iterdir()}


def test_later_commands_read_the_finished_run(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    assert cli("verify", "out", checkpoint_path("cnn"), cwd=folder).returncode == 0
    assert cli("verify", "out", checkpoint_path("vit"), cwd=folder).returncode == 3
    assert "schema" in cli("render", "out", "--format", "json", cwd=folder).stdout
    assert cli("gate", "out", cwd=folder).returncode == 4
    assert cli("gate", "nowhere", cwd=folder).returncode == 3


def test_fail_on_changes_only_verdicts(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from reid_audit.cli.check import process_code
    from reid_audit.records import EXIT_CODES, Outcome

    changed = {(o, w): process_code(o, EXIT_CODES[o], w) for o in Outcome for w in ("fail", "inconclusive", "never")}
    assert {pair for pair, code in changed.items() if code != EXIT_CODES[pair[0]]} == {
        (Outcome.INCONCLUSIVE, "fail"),
        (Outcome.INCONCLUSIVE, "never"),
        (Outcome.FAIL, "never"),
    }


def test_policy_and_inspect(tmp_path: Path) -> None:
    assert cli("policy", "init", cwd=tmp_path).returncode == 0
    assert cli("policy", "init", cwd=tmp_path).returncode == 2
    assert cli("policy", "check", cwd=tmp_path).returncode == 0
    (tmp_path / "reid-audit.toml").write_text("[gates.linkage_q]\nfail = 0.01\n")
    refused = cli("policy", "check", cwd=tmp_path)
    assert refused.returncode == 2
    assert "linkage_p" in refused.stderr
    seen = cli("inspect", checkpoint_path("cnn"), "--side", "32", "--json", cwd=tmp_path)
    document = json.loads(seen.stdout)
    assert document["architecture"]["name"] == "mobilenetv2_035"
    assert document["capacity"]["statistics"] == 14080


def test_the_end_is_quick_and_nothing_is_lost(tmp_path: Path) -> None:
    """What is registered for the exit runs, what is buffered is written, and torn down is nothing."""
    program = (
        "import atexit, sys\nfrom reid_audit.cli.pipes import leave\n"
        "class Late:\n    def __del__(self):\n        print('taken apart', flush=True)\n"
        "late = Late()\natexit.register(print, 'registered')\nsys.stdout.write('buffered, ')\nleave(4)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "buffered, registered\n", "")
