"""What a pull request, a fork, an input or a line of output cannot do to the gate."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from place import WEIGHTS, Place, edit, notes_of, results

REPOSITORY = {"full_name": "clinic/models"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


def test_inputs_are_words_never_flags_or_shell(place: Place) -> None:
    place.write(results.passing())
    bad = "--fail-on=never; touch hacked $(touch hacked)"
    assert (
        place.run(
            0, reference=bad, holdout="x?split=holdout", label="Edema,Mass", budget="10m", formats="html, sarif"
        ).code
        == 0
    )
    arguments, _ = json.loads((place.temp / "arguments.json").read_text(encoding="utf-8"))
    assert f"--reference={bad}" in arguments
    assert "--label=Edema,Mass" in arguments
    assert arguments[-4:] == ["--fail-on=inconclusive", "--published-as=model.pt", "--", "model.pt"]
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
    warnings = notes_of(job, "warning")
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
    assert notes_of(job, "error")[0].startswith("::error title=reid-audit refused::")
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
    assert "fetch-depth: 0" in notes_of(job, "error")[0]
    assert not (place.temp / "arguments.json").exists()


def test_a_policy_of_the_site_is_used_as_it_is(place: Place) -> None:
    place.write(results.passing())
    git(place.workspace, "init", "-q")
    site = place.temp / "site.toml"
    site.write_text("# site\n", encoding="utf-8")
    assert place.run(0, "pull_request", pull(sha=commit(place.workspace)), policy=str(site)).code == 0
    assert read_by_the_tool(place)["policy"] == "# site\n"
