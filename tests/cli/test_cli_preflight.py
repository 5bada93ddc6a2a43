"""``check`` looks ahead: what cannot work ends it before the attack, with the right code, and names nobody aloud."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import preflight_films as films
import pytest

import reid_audit.audit
from reid_audit.audit import Films
from reid_audit.cli import exit_code
from reid_audit.demo.targets import checkpoint_path
from reid_audit.runs import runs_below


class AttackedError(BaseException):
    """The attack was begun. No command turns it into an exit code."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a policy, in which no attack can run unnoticed."""

    def attack(*_: object, **__: object) -> None:
        raise AttackedError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reid_audit.audit, "audit_file", attack)
    (tmp_path / "reid-audit.toml").write_text("[preprocess]\nside = 32\nmean = [0.0]\nstd = [1.0]\n")
    return tmp_path


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Options of two good sides."""
    reference = films.side(tmp_path / "t", range(60))
    holdout = films.side(tmp_path / "h", range(100, 210))
    return ("--reference", str(reference), "--holdout", str(holdout))


def check(*words: str, began: float | None = None) -> int:
    return exit_code(["check", str(checkpoint_path("cnn")), *words], began=began)


def test_a_dry_run_says_what_is_possible_and_writes_nothing(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*given, "--dry-run", "--budget", "1s") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "training films: 60 of 60 patients" in said
    assert "verdicts within reach: FAIL, INCONCLUSIVE, PASS" in said
    assert "budget 1.0 s" in said
    assert "free" in said
    assert not (tmp_path / "reid-audit-report").exists()


def test_the_budget_counts_from_the_start_of_the_process(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*given, "--dry-run", "--budget", "1h", began=time.monotonic() - 7200.0) == 0
    assert "0 of 60 films were decoded" in " ".join(capsys.readouterr().err.split())
    assert check(*given, "--dry-run", "--budget", "1h") == 0
    assert "films were decoded" not in " ".join(capsys.readouterr().err.split())


def test_a_budget_that_the_preflight_used_up_is_a_refusal(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*given, "--budget", "1h", began=time.monotonic() - 7200.0) == 3
    said = capsys.readouterr().err.splitlines()[-3:]
    assert said[0].startswith("not audited: the budget was over when the preflight ended, after 2 h")
    assert said[1] == "closest: nothing was attacked, nothing was measured"
    assert "--budget" in said[2]
    assert not (tmp_path / "reid-audit-report").exists()


def test_a_dry_run_as_json_is_one_document(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(*given, "--dry-run", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "reid-audit/preflight/1"
    assert document["possible"] == ["fail", "inconclusive", "pass"]
    assert document["cost"]["side"] == 32


def test_json_leaves_the_preflight_to_stderr(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AttackedError):
        check(*given, "--json")
    said = capsys.readouterr()
    assert said.out == ""
    assert "verdict" in said.err


def test_verbose_names_options_versions_and_short_stages(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*given, "--dry-run") == 0
    brief = capsys.readouterr().err
    assert check(*given, "--dry-run", "--verbose") == 0
    said = capsys.readouterr().err
    assert "option --reference" in said
    assert ", torch " in said
    assert "reading the checkpoint: done (" in said
    assert "reading the checkpoint" not in brief
    assert check(*given, "--quiet", "--verbose") == 2


def test_good_films_are_attacked(given: tuple[str, ...]) -> None:
    with pytest.raises(AttackedError):
        check(*given)


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--quiet",)])
def test_faults_end_the_check_and_are_named_in_restricted_alone(
    more: tuple[str, ...], given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films.corrupt(tmp_path / "h" / "film150.png")
    (tmp_path / "t" / "film0.png").write_bytes((tmp_path / "h" / "film151.png").read_bytes())
    assert check(*given, *more) == 3
    said = capsys.readouterr().err
    what, closest, remedy = said.splitlines()[-3:]
    assert what.startswith("not audited: hold-out: images that cannot be read: 1; patients in both cohorts: 1")
    assert "nothing was spent" in closest
    (run,) = runs_below(tmp_path / "reid-audit-report")
    table = run / "restricted" / "faults.csv"
    assert table.relative_to(tmp_path).as_posix() in remedy
    assert (table.stat().st_mode & 0o777, table.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["kind"] for row in rows] == ["unreadable", "picture under two ids"]
    for secret in ("film150", "P0000", "P0151"):
        assert secret not in said
        assert secret in table.read_text()


def test_a_source_that_is_not_there_needs_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--reference", "nowhere", "--holdout", "nothing") == 3
    what = capsys.readouterr().err.splitlines()[-3]
    assert "training: nowhere does not exist" in what
    assert "hold-out: nothing does not exist" in what
    assert not (tmp_path / "reid-audit-report").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--fail-on", "never")])
def test_without_a_verdict_in_reach_nothing_is_spent(
    more: tuple[str, ...], given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*given[:2], *more) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3].startswith("usage: only INCONCLUSIVE is possible: no hold-out films were given")
    assert "--indicators-only" in lines[-1]
    assert 'evidence = "checkpoint"' in lines[-1]
    assert not (tmp_path / "reid-audit-report").exists()


def test_indicators_alone_run_when_asked_for(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AttackedError):
        check(*given[:2], "--indicators-only")
    assert "limit: only INCONCLUSIVE is possible" in capsys.readouterr().err


def test_a_screening_is_a_verdict(place: Path) -> None:
    (place / "reid-audit.toml").write_text('evidence = "checkpoint"\n[preprocess]\nside = 32\n')
    with pytest.raises(AttackedError):
        check()


def test_few_training_patients_do_not_stop_an_audit_that_can_fail(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = films.side(tmp_path / "few", range(300, 320))
    with pytest.raises(AttackedError):
        check("--reference", str(few), *given[2:])
    said = " ".join(capsys.readouterr().err.split())
    assert "PASS is out of reach: 20 training patients" in said
    assert "somebody answers for membership_tpr_at_1pct_fpr with a waiver" in said
    assert "verdicts within reach: FAIL, INCONCLUSIVE time" in said


def test_the_audit_knows_how_many_films_it_will_read(given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Films] = []

    def keep(_: object, sides: Films, *__: object) -> None:
        asked.append(sides)
        raise AttackedError

    monkeypatch.setattr(reid_audit.audit, "audit_file", keep)
    with pytest.raises(AttackedError):
        check(*given, "--budget", "1h")
    assert asked[0].counted == (60, 110)
    assert asked[0].reading > 0
