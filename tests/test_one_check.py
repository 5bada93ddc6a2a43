"""The command and the function are one check: they ask the same of an audit, and the same refusals end both."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

import reid_audit
from reid_audit.api import Called, Options
from reid_audit.audit import AuditedFile, AuditRequest
from reid_audit.checking import steps
from reid_audit.checking.options import CheckOptions
from reid_audit.checking.request import Asked
from reid_audit.checking.sources import kept_in
from reid_audit.cli import exit_code
from reid_audit.demo.targets import checkpoint_path
from reid_audit.errors import AuditError, CohortError, PolicyError
from reid_audit.observer import Event, Noted, StageStarted
from reid_audit.records import Policy
from reid_audit.runs import runs_below

SIDE = 32
SIDES = ("t.npz", "h.npz")
THE_COMMANDS = {"dry_run", "as_json", "fail_on", "quiet", "verbose"}
"""Options of the command that say how it talks and ends."""


class BegunError(AuditError):
    """The audit was about to begin."""


class Began:
    """What stands in place of the audit, and keeps what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[AuditRequest] = []
        self.folders: list[Path] = []

    def __call__(self, wanted: Asked, folder: Path) -> AuditedFile:
        self.asked.append(wanted.request)
        self.folders.append(folder)
        raise BegunError("begun", closest="the audit", remedy="none")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a policy and two cohorts, and a place of temporary files in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path("reid-audit.toml").write_text(f"demographics = 'off'\n[preprocess]\nside = {SIDE}\n")
    Path("reid-audit-waivers.toml").write_text("")
    for seed, name in enumerate(SIDES):
        np.savez(name, images=np.random.default_rng(seed).integers(0, 256, (24, SIDE, SIDE), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> Began:
    found = Began()
    monkeypatch.setattr(steps, "audit", found)
    return found


def test_command_and_function_ask_the_same_of_an_audit(began: Began) -> None:
    model, (members, others) = checkpoint_path("cnn"), SIDES
    words = ("--budget", "10m", "--seed", "3", "--indicators-only", "--repeats", "2", "--head", "softmax")
    assert exit_code(["check", str(model), "--reference", members, "--holdout", others, *words]) == 3
    options = Options(budget="10m", seed=3, indicators_only=True, repeats=2, head="softmax")
    with pytest.raises(BegunError):
        reid_audit.check(model, members, others, **options)
    by_command, by_function = began.asked
    assert by_function == by_command
    assert ("policy", str(Path("reid-audit.toml").absolute())) in by_function.options
    assert not any(folder.exists() for folder in began.folders)


def test_a_policy_in_memory_is_held_to_and_is_no_file(began: Began) -> None:
    rules = Policy(demographics="off", repeats=2)
    with pytest.raises(BegunError):
        reid_audit.check(checkpoint_path("cnn"), *SIDES, policy=rules, indicators_only=True, side=SIDE)
    (asked,) = began.asked
    assert asked.policy.repeats == 2
    assert "policy" not in dict(asked.options)


def test_films_in_memory_are_kept_in_no_cache(place: Path) -> None:
    made = place / "temporary" / "made"
    options = Called(checkpoint="m.pt", cache=Path("kept"), place=made)
    assert kept_in(options, f"{made / 'reference' / 'films.csv'}?split=train") is None
    assert kept_in(options, "t.npz") == Path("kept")
    assert kept_in(CheckOptions(checkpoint="m.pt", cache=Path("kept")), str(made / "films.csv")) == Path("kept")
    assert kept_in(options.model_copy(update={"out": place}), "t.npz") is None, "the folder of reports is given away"


def test_the_function_has_every_option_of_the_command() -> None:
    shared = {"checkpoint", "policy", "reference", "holdout", "out"}
    assert set(Options.__annotations__) == set(CheckOptions.model_fields) - shared - THE_COMMANDS


def test_single_faults_are_listed_where_a_folder_stays(place: Path) -> None:
    both = np.random.default_rng(0).integers(0, 256, (24, SIDE, SIDE), dtype=np.uint8)
    np.savez("same.npz", images=both)
    with pytest.raises(CohortError) as kept:
        reid_audit.check(checkpoint_path("cnn"), "t.npz", "same.npz", out="runs")
    (run,) = runs_below(Path("runs"))
    assert str(run / "restricted" / "faults.csv") in kept.value.remedy
    with pytest.raises(CohortError) as gone:
        reid_audit.check(checkpoint_path("cnn"), "t.npz", "same.npz")
    assert gone.value.what == kept.value.what
    assert "faults.csv" not in gone.value.remedy
    assert not list((place / "temporary").iterdir())


def test_the_budget_of_the_function_counts_from_its_call(began: Began) -> None:
    shown: list[str] = []

    class Watching:
        def notice(self, event: Event) -> None:
            shown.extend([event.message] if isinstance(event, Noted) else [])
            shown.extend([event.stage] if isinstance(event, StageStarted) else [])

    with pytest.raises(AuditError, match="the budget was over when the preflight ended"):
        reid_audit.check(checkpoint_path("cnn"), *SIDES, budget=1e-3, indicators_only=True, observer=Watching())
    assert shown[:3] == ["fetching the checkpoint", "reading the checkpoint", "loading libraries"]
    assert not began.asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Options(method="magic"), "magic"),
        (Options(published_as="C:\\models\\m.pt"), "repository"),
        (Options(prior_patients=Path("patients.csv")), "--prior-patients goes with"),
    ],
    ids=["method", "published as", "patients without a prior"],
)
def test_options_that_the_command_refuses_are_refused(given: Options, said: str) -> None:
    with pytest.raises(PolicyError) as refused:
        reid_audit.check(checkpoint_path("cnn"), *SIDES, **given)
    assert said in refused.value.what


def test_options_at_odds_are_a_usage_error_in_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["check", str(checkpoint_path("cnn")), "--prior-patients", "patients.csv"]) == 2
    said = capsys.readouterr().err.splitlines()[-3:]
    assert [line.partition(":")[0] for line in said] == ["usage", "closest", "help"]
