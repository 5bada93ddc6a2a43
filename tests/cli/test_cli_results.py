"""``render`` and ``verify`` on finished runs: every format, from what is restricted and from what is public."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import results

from reid_audit.audit import AuditedFile
from reid_audit.checking.options import CheckOptions
from reid_audit.checking.reports import deliver
from reid_audit.checking.rules import override
from reid_audit.cli import exit_code
from reid_audit.records import (
    AuditResult,
    EncoderCard,
    Measured,
    Metric,
    Policy,
    PreprocessPolicy,
    PreprocessSpec,
    ReportFields,
    find,
    replaced,
)
from reid_audit.records.earlier import with_present_names
from reid_audit.report import FILES, FORMATS, publish, render
from reid_audit.runs import ATTACK_RUNS, RESULT, begun, chosen, finish
from reid_audit.store import write_private

GOLDEN = Path(__file__).resolve().parents[1] / "report" / "golden"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The --out directory of a finished audit, as far as these commands read it."""
    write_private(tmp_path / "out" / "restricted" / "result.json", results.failing().model_dump_json())
    return tmp_path / "out"


def ran(out: Path, result: AuditResult, hours: int, *, ends: bool = True) -> Path:
    """A run below ``out`` that ended with ``result``, or left something and did not end."""
    with begun(out, datetime(2026, 1, 1, hours, tzinfo=UTC), result.checkpoint.sha256) as folder:
        if ends:
            write_private(folder / RESULT, result.model_dump_json())
            finish(folder)
        else:
            write_private(folder / ATTACK_RUNS / "target.safetensors", b"run")
    return folder


def test_the_result_is_there_before_any_report_that_is_made_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = results.failing()
    folder = tmp_path / "out" / "2026-11-26T12-30-05Z-3f2a9c1d"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("reid_audit.report.write_reports", full)
    with pytest.raises(OSError, match="No space"):
        deliver(AuditedFile(result, None), folder)
    assert AuditResult.model_validate_json((folder / RESULT).read_bytes()) == result
    assert chosen(tmp_path / "out") == folder


def test_gate_reads_which_encoder_the_policy_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = Path("reid.safetensors")
    given.write_bytes(b"an encoder")
    digest = hashlib.sha256(b"an encoder").hexdigest()
    card = EncoderCard(sha256=digest, architecture="resnet18", side=224, channels=1, dimensions=64)
    seen = Measured(metric=Metric.ENCODER_LINKAGE_P, value=1.0, n=30)
    passing = results.passing()
    others = tuple(m for m in passing.measurements if m.metric is not Metric.ENCODER_LINKAGE_P)
    result = passing.model_copy(update={"encoder": card, "measurements": (*others, seen)})
    ran(tmp_path / "out", result, 1)
    Path("reid-audit.toml").write_text('[encoder]\ncheckpoint = "reid.safetensors"\n')
    assert exit_code(["gate", "out"]) == 0
    given.write_bytes(b"another")
    assert exit_code(["gate", "out"]) == 4
    assert "names another re-identification encoder" in " ".join(capsys.readouterr().err.split())


def test_an_out_folder_means_its_latest_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    first = ran(out, results.failing(), 1)
    second = ran(out, results.passing(), 2)
    assert exit_code(["gate", str(out)]) == exit_code(["gate", str(second)]) == 0
    assert exit_code(["gate", str(first)]) == exit_code(["gate", str(first / RESULT)]) == 1
    assert "note:" not in capsys.readouterr().err
    broken = ran(out, results.failing(), 3, ends=False)
    assert exit_code(["gate", str(out)]) == 0
    assert f"note: {second.name} is read; {broken.name} began later and has not finished" in capsys.readouterr().err
    assert exit_code(["gate", str(broken)]) == 3
    assert exit_code(["render", str(out), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["outcome"] == "pass"


@pytest.mark.parametrize(("result", "code"), [(results.passing(), 0), (results.failing(), 1), (results.screening(), 4)])
@pytest.mark.parametrize("command", ["gate", "render"])
def test_a_reader_that_leaves_changes_no_exit_code(
    result: AuditResult, code: int, command: str, tmp_path: Path
) -> None:
    """As in ``reid-audit gate R 2>&1 | head -1``: the pipe is closed before a word is written."""
    folder = ran(tmp_path, result, 1)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "reid_audit", command, str(folder)], stdout=writing, stderr=writing, check=False
    )
    os.close(writing)
    assert done.returncode == (code if command == "gate" else 0)


def test_without_a_stdout_at_all_the_verdict_stands(tmp_path: Path) -> None:
    folder = ran(tmp_path, results.failing(), 1)
    command = [sys.executable, "-m", "reid_audit", "gate", str(folder)]
    assert subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], check=False).returncode == 1


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_printed(run: Path, format: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert exit_code(["render", str(run), "--format", format]) == 0
    assert capfdbinary.readouterr().out.decode() == render(publish(results.failing()), format)


def test_files_are_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again"
    assert exit_code(["render", str(run), "--out", str(again)]) == 0
    assert sorted(path.name for path in again.iterdir()) == sorted(FILES.values())
    assert capsys.readouterr().out.count("wrote ") == len(FILES)
    some = tmp_path / "some"
    assert exit_code(["render", str(run), "--format", "html", "--format", "junit", "--out", str(some)]) == 0
    assert sorted(path.name for path in some.iterdir()) == ["report.html", "report.junit.xml"]
    assert (some / "report.html").read_bytes() == (again / "report.html").read_bytes()
    assert exit_code(["render", str(run), "--format", "html", "--format", "junit"]) == 2


def test_a_public_report_is_enough(run: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert exit_code(["render", str(run), "--format", "json", "--out", str(tmp_path / "public")]) == 0
    capfdbinary.readouterr()
    for source in (tmp_path / "public", tmp_path / "public" / "report.json"):
        assert exit_code(["render", str(source), "--format", "sarif"]) == 0
        assert capfdbinary.readouterr().out.decode() == render(publish(results.failing()), "sarif")


@pytest.mark.parametrize("format", FORMATS)
def test_an_earlier_document_is_still_rendered(format: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """``earlier.json`` is never rewritten: it has no field that came later."""
    assert "doubt" not in (GOLDEN / "earlier.json").read_text(encoding="utf-8")
    assert exit_code(["render", str(GOLDEN / "earlier.json"), "--format", format]) == 0
    out = capfdbinary.readouterr().out.replace(b"<wbr>", b"")
    assert b"membership_tpr_at_1pct_fpr" in out
    assert b"exposure_" not in out


def test_rows_of_an_earlier_document_say_what_their_margins_say() -> None:
    text = json.loads((GOLDEN / "earlier.json").read_text(encoding="utf-8"))
    rows = [row for row in with_present_names(text)["gates"] if row["margin"] is not None]
    assert any(row["beyond"] for row in rows)
    assert any(not row["beyond"] for row in rows)
    for row in rows:
        assert {"breach": True, "clear": False}.get(row["status"], row["beyond"]) == row["beyond"]


EARLIER = (GOLDEN / "earlier.result.json").read_text(encoding="utf-8")
"""A finished run as version 1 wrote it; never rewritten."""


@pytest.fixture
def earlier_run(tmp_path: Path) -> Path:
    write_private(tmp_path / "out" / "restricted" / "result.json", EARLIER)
    return tmp_path / "out"


def test_a_run_of_version_1_is_rendered_as_the_same_run_of_today(
    earlier_run: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert "exposure_tpr_at_1pct_fpr" in EARLIER
    assert exit_code(["render", str(earlier_run), "--format", "json"]) == 0
    found = json.loads(capfdbinary.readouterr().out)
    expected = json.loads((GOLDEN / "failing.json").read_text(encoding="utf-8"))
    for part in ("attack_runs", "histograms", "curves"):
        assert found[part] == expected[part]
    for part, name in (("measurements", "metric"), ("controls", "name")):
        had = {row[name] for row in found[part]} - {"preprocess_fit", "membership_auc"}
        assert [row for row in found[part] if row[name] in had] == [row for row in expected[part] if row[name] in had]
    known = {row["metric"] for row in found["gates"]}
    assert found["verdict"]["breaches"] == [name for name in expected["verdict"]["breaches"] if name in known]
    later = [row["status"] for row in expected["gates"] if row["metric"] in known]
    assert [row["status"] for row in found["gates"]] == later


def test_a_run_of_version_1_is_judged_again(earlier_run: Path, tmp_path: Path) -> None:
    (tmp_path / "asked.toml").write_text("[gates.membership_auc]\nfail = 0.9\n", encoding="utf-8")
    out = tmp_path / "again"
    assert exit_code(["gate", str(earlier_run), "--policy", str(tmp_path / "asked.toml"), "--out", str(out)]) == 1
    document = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert document["schema"] == "reid-audit/report/2"
    assert {"membership_auc", "membership_tpr_at_1pct_fpr"} <= set(document["verdict"]["breaches"])


@pytest.mark.parametrize("content", [None, "{}", '{"schema": "reid-audit/report/3"}', "not json"])
def test_what_is_no_report_is_refused(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert exit_code(["render", str(path)]) == 3
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["not audited", "closest", "help"]


def test_verify_compares_the_file(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    assert exit_code(["verify", str(run), str(weights)]) == 3
    document = json.loads((GOLDEN / "passing.json").read_text(encoding="utf-8"))
    document["checkpoint"]["sha256"] = hashlib.sha256(b"weights").hexdigest()
    report = tmp_path / "report.json"
    report.write_text(json.dumps(document), encoding="utf-8")
    assert exit_code(["verify", str(report), str(weights)]) == 0
    assert exit_code(["verify", str(report), str(tmp_path / "gone.pt")]) == 3


def gated(result: AuditResult, folder: Path, policy: str = "") -> int:
    """Exit code of ``gate`` on a finished run under a policy file."""
    write_private(folder / "run" / "restricted" / "result.json", result.model_dump_json())
    (folder / "asked.toml").write_text(policy, encoding="utf-8")
    return exit_code(["gate", str(folder / "run"), "--policy", str(folder / "asked.toml")])


LEAK = (
    Measured(metric=Metric.LINKAGE_P, value=0.0001, n=388),
    Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=9, control=0, n=388),
)


def test_gate_judges_the_same_numbers_under_another_policy(tmp_path: Path) -> None:
    result = results.passing()
    assert gated(result, tmp_path) == 0
    assert gated(result, tmp_path, "[gates.membership_tpr_at_1pct_fpr]\nclear = 0.02\n") == 4
    assert gated(result, tmp_path, "[gates.membership_auc]\nfail = 0.4\n") == 1


@pytest.mark.parametrize("command", [["gate"], ["render"], ["compare", "{run}"]])
def test_a_folder_that_cannot_be_written_is_refused_by_its_name(
    command: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "below"
    words = [word.format(run=run) for word in command]
    assert exit_code([*words, str(run), "--out", str(out)]) == 3
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"not audited: cannot write below {out}"
    assert [line.split(":")[0] for line in said] == ["not audited", "closest", "help"]


def test_a_run_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["render", str(tmp_path / "nothing")]) == 3
    assert f"{tmp_path / 'nothing'} holds no finished run\nclosest: there is no such" in capsys.readouterr().err


def test_gate_takes_the_report_of_a_run_for_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the report says decides nothing: the restricted result beside it does."""
    report = run / "report.json"
    report.write_text(render(publish(results.passing()), "json"), encoding="utf-8")
    assert exit_code(["gate", str(report)]) == 1
    capsys.readouterr()
    alone = tmp_path / "report.json"
    alone.write_bytes(report.read_bytes())
    assert exit_code(["gate", str(alone)]) == 3
    assert "closest: no restricted/result.json" in capsys.readouterr().err


def test_gate_judges_every_attack_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = results.passing().model_copy(update={"repeats": (LEAK,)})
    assert result.by_seed()[0] == result.measurements
    assert find(result.by_seed()[1], Metric.LINKAGE_P) == LEAK[0]
    assert gated(result, tmp_path) == 4
    assert "seeds disagree" in " ".join(capsys.readouterr().err.split())
    assert gated(result.model_copy(update={"repeats": ((), LEAK)}), tmp_path, "repeats = 3\nagreement = 2\n") == 0
    assert gated(result.model_copy(update={"repeats": (LEAK, LEAK)}), tmp_path, "repeats = 3\nagreement = 2\n") == 1


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("repeats = 2", 4),
        ("level = 0.05", 4),
        ("[controls]\ncanaries = 16", 4),
        ("[controls]\ncanaries = 16\nattack_power = false\nmembership_control = false", 0),
        ("[preprocess]\nmean = [0.1]", 4),
        ("[preprocess]\nmean = [0.5]\nstd = [0.5]", 0),
        ('head = "softmax"', 0),
        ('head = "sigmoid"', 4),
    ],
)
def test_gate_passes_nothing_the_run_did_not_do(policy: str, code: int, tmp_path: Path) -> None:
    ran = PreprocessPolicy(declared=PreprocessSpec(side=64, mean=(0.5,), std=(0.5,)))
    result = results.passing()
    done = result.model_copy(update={"policy": result.policy.model_copy(update={"preprocess": ran})})
    assert gated(done, tmp_path, policy) == code
    failed = done.model_copy(update={"measurements": replaced(done.measurements, LEAK)})
    assert gated(failed, tmp_path, policy) == 1


def test_a_report_knows_the_weights_by_the_name_that_was_given(run: Path, tmp_path: Path) -> None:
    public = tmp_path / "report.json"
    public.write_text(render(publish(results.failing()), "json"), encoding="utf-8")
    for command, given in (("gate", run), ("render", run), ("render", public)):
        out = tmp_path / f"again-{command}-{given.name}"
        exit_code([command, str(given), "--out", str(out), "--published-as", "models/chest.pt"])
        assert json.loads((out / "report.json").read_text(encoding="utf-8"))["declared"]["weights"] == "models/chest.pt"
        assert '"uri": "models/chest.pt"' in (out / "report.sarif").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["/srv/model.pt", "../model.pt", "a//b.pt", "", "C:model.pt", "a\\b.pt", "a" * 121])
def test_a_name_is_relative_to_the_repository(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["render", str(run), "--published-as", name]) == 2
    assert "not a name or a path in a repository" in capsys.readouterr().err


def test_the_name_overrides_that_of_the_policy() -> None:
    policy = Policy(report=ReportFields(weights="other.pt", model="Triage"))
    named = override(policy, CheckOptions(checkpoint="m", published_as="models/chest.pt"))
    assert (named.report.weights, named.report.model) == ("models/chest.pt", "Triage")
    assert override(policy, CheckOptions(checkpoint="m")) == policy
    assert CheckOptions(checkpoint="m", published_as="models/chest.pt").given() == ()
