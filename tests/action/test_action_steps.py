"""The steps of action.yml, run as they stand, on a leaking, a clean, an inconclusive and a crashing audit."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reid_audit.records import AuditResult
from reid_audit.report import FILES, publish, write_reports

FOLDER = Path(__file__).resolve().parent
WEIGHTS = b"weights, as far as the steps can tell"
SHA = hashlib.sha256(WEIGHTS).hexdigest()
REPOSITORY = {"full_name": "clinic/models"}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"action_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = load(FOLDER / "runner.py")
results = load(FOLDER.parent / "report" / "results.py")


@dataclass
class Place:
    """A workspace with a checkpoint, and the reports the fake command will write."""

    workspace: Path
    temp: Path
    prepared: Path

    def run(
        self, code: int, event: str = "push", payload: dict[str, Any] | None = None, **inputs: str
    ) -> Any:  # runner.Job, which is loaded by path
        runner.fake_command(self.temp, self.prepared, code)
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        given = {"checkpoint": "model.pt", "version": "preinstalled", **given}
        return runner.run_action(self.workspace, self.temp, given, event, payload or {})

    def write(self, result: AuditResult, sha256: str = SHA) -> None:
        checkpoint = result.checkpoint.model_copy(update={"sha256": sha256})
        write_reports(publish(result.model_copy(update={"checkpoint": checkpoint})), self.prepared)

    def report(self) -> Path:
        return self.workspace / "reid-audit-report"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "workspace", tmp_path / "temp", tmp_path / "prepared")
    for folder in (found.workspace, found.temp, found.prepared):
        folder.mkdir()
    (found.workspace / "model.pt").write_bytes(WEIGHTS)
    return found


def annotations(job: Any, level: str) -> list[str]:
    return [line for line in job.log.splitlines() if line.startswith(f"::{level} ")]


def test_leaking(place: Place) -> None:
    place.write(results.failing())
    job = place.run(1)
    assert job.code == 1
    assert job.outputs == {
        "verdict": "fail",
        "exit-code": "1",
        "report-json": "reid-audit-report/report.json",
        "report-html": "reid-audit-report/report.html",
        "sarif": "reid-audit-report/report.sarif",
        "junit": "reid-audit-report/report.junit.xml",
        "checkpoint-sha256": SHA,
        "failed-gates": "linkage_p,exposure_tpr_at_1pct_fpr,likely_samples,nearest_ssim,nearest_nn",
    }
    assert job.ran[-1] == "Exit code"
    errors = annotations(job, "error")
    assert len(errors) == 5
    assert errors[0].startswith("::error title=reid-audit linkage_p::linkage_p 0.0005 breaches 0.01")
    assert annotations(job, "warning") == []
    assert job.summary == (place.prepared / "report.md").read_text(encoding="utf-8")
    for name in FILES.values():
        assert (place.report() / name).read_bytes() == (place.prepared / name).read_bytes()


def test_clean(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (0, "pass", "0")
    assert job.outputs["failed-gates"] == ""
    assert annotations(job, "error") == annotations(job, "warning") == []
    assert "PASS" in job.summary


def test_inconclusive(place: Place) -> None:
    place.write(results.screening())
    job = place.run(4)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (4, "inconclusive", "4")
    warnings = annotations(job, "warning")
    assert len(warnings) == 3
    assert "Give the training images with --reference" in warnings[0]
    assert "title=reid-audit evidence::" in warnings[2]
    assert annotations(job, "error") == []
    assert "INCONCLUSIVE" in job.summary
    assert Path(place.workspace, job.outputs["report-html"]).is_file()


def test_crashing(place: Place) -> None:
    job = place.run(3)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (3, "not_audited", "3")
    assert job.outputs["report-json"] == ""
    assert "wrote no report" in annotations(job, "error")[0]
    assert "NOT AUDITED" in job.summary


@pytest.mark.parametrize(
    ("fail_on", "expected"), [("fail", {"fail": 1, "inconclusive": 0}), ("never", {"fail": 0, "inconclusive": 0})]
)
@pytest.mark.parametrize(("outcome", "code"), [("fail", 1), ("inconclusive", 4)])
def test_fail_on_forgives_verdicts(
    place: Place, fail_on: str, expected: dict[str, int], outcome: str, code: int
) -> None:
    place.write(results.failing() if outcome == "fail" else results.screening())
    job = place.run(code, fail_on=fail_on)
    assert job.code == expected[outcome]
    assert job.outputs["exit-code"] == str(expected[outcome])
    assert job.outputs["verdict"] == outcome


@pytest.mark.parametrize("fail_on", ["never", "sometimes"])
def test_fail_on_forgives_no_crash(place: Place, fail_on: str) -> None:
    assert place.run(3, fail_on=fail_on).code == 3


def other_weights(place: Place) -> None:
    place.write(results.passing(), sha256="ab" * 32)


def failing_report(place: Place) -> None:
    place.write(results.failing())


def broken_report(place: Place) -> None:
    (place.prepared / "report.json").write_text('{"schema": "reid-audit/report/1"', encoding="utf-8")


def next_schema(place: Place) -> None:
    edit(place, lambda document: document.update(schema="reid-audit/report/2"))


def contradiction(place: Place) -> None:
    edit(place, lambda document: document["verdict"].update(outcome="fail"))


def edit(place: Place, change: Callable[[dict[str, Any]], None]) -> None:
    place.write(results.passing())
    document = json.loads((place.prepared / "report.json").read_text(encoding="utf-8"))
    change(document)
    (place.prepared / "report.json").write_text(json.dumps(document), encoding="utf-8")


def report_of_an_earlier_run(place: Place) -> None:
    place.write(results.passing())
    place.prepared.rename(place.report())
    place.prepared.mkdir()


@pytest.mark.parametrize(
    "prepare", [other_weights, failing_report, broken_report, next_schema, contradiction, report_of_an_earlier_run]
)
def test_what_is_not_this_verdict_is_not_audited(place: Place, prepare: Callable[[Place], None]) -> None:
    prepare(place)
    job = place.run(0)
    assert (job.code, job.outputs["verdict"], job.outputs["report-json"]) == (3, "not_audited", "")
    assert len(annotations(job, "error")) == 1


def test_missing_checkpoint(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0, checkpoint="elsewhere.pt")
    assert (job.code, job.outputs["checkpoint-sha256"]) == (3, "")


def test_inputs_are_words_never_flags_or_shell(place: Place) -> None:
    place.write(results.passing())
    bad = "--fail-on=never; touch hacked $(touch hacked)"
    assert place.run(0, reference=bad, holdout="x?split=holdout", budget="10m", formats="html, sarif").code == 0
    arguments, _ = json.loads((place.temp / "arguments.json").read_text(encoding="utf-8"))
    assert f"--reference={bad}" in arguments
    assert arguments[-3:] == ["--fail-on=inconclusive", "--", "model.pt"]
    assert [word for word in arguments if word.startswith("--format")] == [
        "--format=html",
        "--format=json",
        "--format=markdown",
        "--format=sarif",
    ]
    assert not any(word.startswith("--prior") for word in arguments)
    assert not (place.workspace / "hacked").exists()


def test_what_the_tool_prints_is_no_command(place: Place) -> None:
    place.write(results.passing())
    log = place.run(0).log
    token = log.partition("::stop-commands::")[2].split()[0]
    start, end = log.index("::stop-commands::"), log.index(f"\n::{token}::")
    assert start < log.index("::error::a line the tool printed") < end


def test_annotations_are_escaped_and_folded(place: Place) -> None:
    def many(document: dict[str, Any]) -> None:
        gap = {"kind": "gap", "metric": None, "text": "50 %\r\n::error::x", "remedy": ""}
        document["findings"] = [gap] * 14

    edit(place, many)
    job = place.run(0)
    warnings = annotations(job, "warning")
    assert len(warnings) == 10
    assert warnings[0] == "::warning title=reid-audit evidence::50 %25%0D%0A::error::x"
    assert warnings[-1].endswith("::5 more in the report")


def test_summary_stays_under_a_mebibyte(place: Place) -> None:
    place.write(results.passing())
    (place.prepared / "report.md").write_text("é line\n" * 300_000, encoding="utf-8")
    summary = place.run(0).summary
    assert len(summary.encode()) < 2**20
    assert summary.endswith("Cut here; the whole text is in report.md.\n")


def test_summary_can_be_turned_off(place: Place) -> None:
    place.write(results.passing())
    assert place.run(0, summary="false").summary == ""


def pull(head: dict[str, str] | None = REPOSITORY, sha: str = "") -> dict[str, Any]:
    return {"pull_request": {"head": {"repo": head}, "base": {"repo": REPOSITORY, "sha": sha}}}


FORK = {"full_name": "stranger/models"}


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("pull_request_target", pull()),
        ("pull_request", pull(FORK)),
        ("pull_request", pull(None)),
        ("pull_request", {}),
        ("pull_request_review", pull(FORK)),
        ("pull_request", {"pull_request": "?"}),
        ("workflow_run", {"workflow_run": {"head_repository": FORK}, "repository": REPOSITORY}),
    ],
)
def test_unsafe_events_are_refused_before_anything_runs(place: Place, event: str, payload: dict[str, Any]) -> None:
    place.write(results.passing())
    job = place.run(0, event, payload)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (3, "not_audited", "3")
    assert job.ran == ["Refuse unsafe events", "Judge", "Exit code"]
    assert annotations(job, "error")[0].startswith("::error title=reid-audit refused::")
    assert not (place.temp / "arguments.json").exists()


def git(folder: Path, *words: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "state")
    return git(folder, "rev-parse", "HEAD")


def read_by_the_tool(place: Place) -> dict[str, str]:
    _, read = json.loads((place.temp / "arguments.json").read_text(encoding="utf-8"))
    return dict(read)


@pytest.mark.parametrize(("policy", "name"), [("", "reid-audit.toml"), ("gates/strict.toml", "gates/strict.toml")])
def test_pull_request_cannot_loosen_its_policy(place: Place, policy: str, name: str) -> None:
    place.write(results.passing())
    git(place.workspace, "init", "-q")
    file = place.workspace / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("# strict\n", encoding="utf-8")
    base = commit(place.workspace)
    file.write_text("# loose\n", encoding="utf-8")
    (place.workspace / "reid-audit-waivers.toml").write_text("# waives all\n", encoding="utf-8")
    commit(place.workspace)
    assert place.run(0, "pull_request", pull(sha=base), policy=policy).code == 0
    assert read_by_the_tool(place) == {"policy": "# strict\n", "waivers": ""}


def test_policy_added_or_linked_by_a_pull_request_is_ignored(place: Place) -> None:
    place.write(results.passing())
    git(place.workspace, "init", "-q")
    (place.temp / "loose.toml").write_text("# loose\n", encoding="utf-8")
    base = commit(place.workspace)
    (place.workspace / "reid-audit.toml").symlink_to(place.temp / "loose.toml")
    commit(place.workspace)
    assert place.run(0, "pull_request", pull(sha=base)).code == 0
    assert read_by_the_tool(place) == {"policy": "", "waivers": ""}


def test_base_is_fetched_into_a_shallow_clone(place: Place) -> None:
    place.write(results.passing())
    origin = place.temp / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    (origin / "reid-audit.toml").write_text("# strict\n", encoding="utf-8")
    (origin / "model.pt").write_bytes(WEIGHTS)
    base = commit(origin)
    (origin / "reid-audit.toml").write_text("# loose\n", encoding="utf-8")
    commit(origin)
    clone = place.temp / "clone"
    git(place.temp, "clone", "-q", "--depth=1", f"file://{origin}", str(clone))
    place.workspace = clone
    assert place.run(0, "pull_request", pull(sha=base)).code == 0
    assert read_by_the_tool(place)["policy"] == "# strict\n"


def test_unknown_base_is_not_audited(place: Place) -> None:
    place.write(results.passing())
    git(place.workspace, "init", "-q")
    commit(place.workspace)
    job = place.run(0, "pull_request", pull(sha="12" * 20))
    assert job.code == 3
    assert "fetch-depth: 0" in annotations(job, "error")[0]
    assert not (place.temp / "arguments.json").exists()


def test_a_policy_of_the_site_is_used_as_it_is(place: Place) -> None:
    place.write(results.passing())
    git(place.workspace, "init", "-q")
    site = place.temp / "site.toml"
    site.write_text("# site\n", encoding="utf-8")
    assert place.run(0, "pull_request", pull(sha=commit(place.workspace)), policy=str(site)).code == 0
    assert read_by_the_tool(place)["policy"] == "# site\n"


@pytest.mark.parametrize("version", ["main", "1.0; touch hacked", "git+https://example.org/x"])
def test_version_is_a_number_or_a_known_word(place: Place, version: str) -> None:
    job = place.run(0, version=version)
    assert job.code == 3
    assert "Audit" not in job.ran


@pytest.mark.parametrize(("version", "source"), [("", str(FOLDER.parents[1])), ("0.1.0", "reid-audit==0.1.0")])
def test_default_install_is_the_code_of_the_action(place: Place, version: str, source: str) -> None:
    """With a python3 that only pretends to make environments: nothing is downloaded."""
    place.write(results.passing())
    runner.fake_command(place.temp, place.prepared, 0)
    bin_ = place.temp / "bin"
    (bin_ / "reid-audit").rename(bin_ / "prepared")
    (bin_ / "python3").write_text(
        f'''#!/bin/sh
[ "$1 $2 $3" = "-I -m venv" ] || exec "{sys.executable}" "$@"
mkdir -p "$4/bin"
printf '#!/bin/sh\necho "$@" > "$RUNNER_TEMP/pip"\n' > "$4/bin/python"
chmod +x "$4/bin/python"
ln -s "{bin_ / "prepared"}" "$4/bin/reid-audit"
''',
        encoding="utf-8",
    )
    (bin_ / "python3").chmod(0o755)
    job = runner.run_action(place.workspace, place.temp, {"checkpoint": "model.pt", "version": version}, "push", {})
    assert job.code == 0, job.log
    pip = (place.temp / "pip").read_text(encoding="utf-8").split()
    assert pip == ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", source]


def test_the_real_command_on_a_broken_file(place: Place) -> None:
    place.write(results.passing())
    runner.fake_command(place.temp, place.prepared, 0)
    script = place.temp / "bin" / "reid-audit"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reid_audit "$@"\n', encoding="utf-8")
    inputs = {"checkpoint": "model.pt", "version": "preinstalled", "budget": "5s", "device": "cpu", "profile": "ci"}
    job = runner.run_action(place.workspace, place.temp, inputs, "push", {})
    assert job.code == 3
    assert "reid-audit ended with 3 and wrote no report" in annotations(job, "error")[0]
    assert "Usage:" not in job.log


def test_file_names_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parents[1] / "action"))
    commands = load(FOLDER.parents[1] / "action" / "commands.py")
    assert commands.REPORTS == FILES
