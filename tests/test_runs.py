"""One folder per run: names, the pointer to the newest finished one, and what a path given to later commands means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from reid_audit.errors import RunStateError
from reid_audit.runs import ATTACK_RUNS, REPORT, RESULT, begun, chosen, finish, finished, later, runs_below

NOON = datetime(2026, 11, 26, 12, 30, 5, tzinfo=UTC)
SHA = "3f2a9c1d" + "0" * 56


def ended(out: Path, hours: int = 0) -> Path:
    """A finished run that began so many hours after noon."""
    with begun(out, NOON + timedelta(hours=hours), SHA) as run:
        (run / REPORT).write_text("{}")
        assert finish(run)
    return run


def failed(out: Path, hours: int, *, left: bool) -> None:
    """A run that broke off, with or without having kept an attack run."""
    with pytest.raises(ZeroDivisionError):
        break_off(out, NOON + timedelta(hours=hours), left=left)


def break_off(out: Path, began: datetime, *, left: bool) -> None:
    with begun(out, began, SHA) as run:
        (run / ATTACK_RUNS).mkdir(parents=True)
        if left:
            (run / ATTACK_RUNS / "target.safetensors").write_bytes(b"run")
        raise ZeroDivisionError


def test_the_name_says_when_in_utc_and_which_weights(tmp_path: Path) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    with begun(tmp_path / "out", there, SHA) as run:
        assert run == tmp_path / "out" / "2026-11-26T12-30-05Z-3f2a9c1d"


def test_two_runs_of_one_second_are_two_folders_in_order(tmp_path: Path) -> None:
    runs = [ended(tmp_path) for _ in range(11)]
    assert len(set(runs)) == 11
    assert runs_below(tmp_path) == tuple(reversed(runs))


def test_latest_leads_to_the_newest_finished_run(tmp_path: Path) -> None:
    first = ended(tmp_path)
    assert (tmp_path / "latest" / REPORT).read_text() == "{}"
    second = ended(tmp_path, 1)
    assert (tmp_path / "latest").resolve() == second.resolve()
    assert chosen(tmp_path) == second
    assert chosen(first) == first
    assert finished(first)


def test_a_clock_that_was_put_back_hides_no_run(tmp_path: Path) -> None:
    ahead = ended(tmp_path, 24 * 365)
    now = ended(tmp_path)
    assert chosen(tmp_path) == now
    assert set(runs_below(tmp_path)) == {ahead, now}


def test_a_run_that_fails_takes_nothing_away(tmp_path: Path) -> None:
    run = ended(tmp_path)
    failed(tmp_path, 1, left=True)
    assert chosen(tmp_path) == run
    assert finished(run)
    assert later(run) == runs_below(tmp_path)[0] != run
    assert later(ended(tmp_path, 2)) is None


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path: Path) -> None:
    failed(tmp_path / "out", 0, left=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    failed(tmp_path / "mine", 0, left=False)
    assert list((tmp_path / "mine").iterdir()) == []


def test_without_links_the_pointer_is_a_text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a file system without links")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    first, second = ended(tmp_path), ended(tmp_path, 1)
    assert (tmp_path / "latest").read_text() == f"{second.name}\n"
    assert chosen(tmp_path) == second
    (tmp_path / "latest").write_text("../../etc\n")
    assert chosen(tmp_path) == second
    (tmp_path / "latest").write_text(first.name)
    assert chosen(tmp_path) == first


def test_a_copied_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / REPORT).write_text("copied")
    assert chosen(tmp_path) == tmp_path / "latest"
    with begun(tmp_path, NOON, SHA) as run:
        (run / REPORT).write_text("{}")
        assert not finish(run)
    assert (tmp_path / "latest" / REPORT).read_text() == "copied"
    assert chosen(tmp_path) == run


def test_a_folder_written_by_hand_or_by_render_is_itself(tmp_path: Path) -> None:
    (tmp_path / RESULT).parent.mkdir()
    (tmp_path / RESULT).write_text("{}")
    assert chosen(tmp_path) == tmp_path
    assert chosen(tmp_path / RESULT) == tmp_path / RESULT
    assert chosen(tmp_path / "nowhere") == tmp_path / "nowhere"


def test_an_out_that_cannot_hold_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunStateError, match="cannot write"), begun(tmp_path / "file", NOON, SHA):
        raise AssertionError("never begun")
