"""A sweep around audits that stand in: what counts, what is done again, what is kept, and which exit code it has."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import results
from ray_machines import two_machines

from reid_audit.errors import PolicyError
from reid_audit.observer import SilentObserver
from reid_audit.records import AuditResult, Outcome
from reid_audit.report import publish, write_reports
from reid_audit.report.sweep import SweepDocument
from reid_audit.runs import RESULT
from reid_audit.store import write_private
from reid_audit.sweep.on_ray import Share, on_ray
from reid_audit.sweep.outcome import Summary
from reid_audit.sweep.run import run_sweep
from reid_audit.sweep.task import Ended, Runner, Task, one_by_one

STAND_IN = Path(__file__).resolve().parent / "stand_in.py"


def prepare(folder: Path, result: AuditResult) -> None:
    """What a finished run of ``result`` leaves."""
    place = folder / "prepared" / str(result.verdict.exit_code)
    write_reports(publish(result), place)
    write_private(place / RESULT, result.model_dump_json())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("prepared")
    for result in (results.passing(), results.failing(), results.demoted()):
        prepare(folder, result)
    return folder / "prepared"


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    (tmp_path / "prepared").symlink_to(prepared)
    return tmp_path


def tasks(place: Path, **behaviours: str) -> list[Task]:
    """One task for each name, whose checkpoint says what happens."""
    found = []
    for row, (name, behaviour) in enumerate(behaviours.items(), start=2):
        (place / name).write_text(behaviour)
        out = place / "out"
        found.append(
            Task(
                name=name, seed=results.passing().seed, row=row, checkpoint=str(place / name), options=(),
                folder=out / name, log=out / "restricted" / f"{name}.log", working=place, inputs=behaviour,
                command=(str(STAND_IN),),
            )
        )  # fmt: skip
    return found


def summary(place: Path, **changes: Any) -> Summary:
    return Summary(place / "out", **{"policy_sha256": results.passing().policy_sha256, **changes})


def sweep(place: Path, given: Sequence[Task], **changes: Any) -> SweepDocument:
    return run_sweep(
        given, partial(one_by_one, 2), summary(place, **changes), observer=SilentObserver(), clock=time.monotonic
    )


def calls(place: Path) -> list[str]:
    path = place / "calls.txt"
    return path.read_text().split() if path.is_file() else []


def test_the_worst_comes_first_and_decides_and_no_audit_stops_another(place: Path) -> None:
    found = sweep(place, tasks(place, good="0", bad="1", broken="refuses", unsure="4", unsafe="unsafe"))
    assert [(row.name, row.outcome, row.exit_code) for row in found.rows] == [
        ("broken", Outcome.NOT_AUDITED, 3),
        ("unsafe", Outcome.REFUSED, 5),
        ("bad", Outcome.FAIL, 1),
        ("unsure", Outcome.INCONCLUSIVE, 4),
        ("good", Outcome.PASS, 0),
    ]
    assert (found.outcome, found.exit_code) == (Outcome.NOT_AUDITED, 3)
    assert found.rows[0].reason == "of no known format. closest: nothing. help: save it again"
    written = json.loads((place / "out" / "sweep.json").read_text())
    assert SweepDocument.model_validate(written) == found
    page = (place / "out" / "sweep.html").read_text()
    for row in found.rows[2:]:
        assert f'href="{row.report}/report.html"' in page
        assert (place / "out" / row.report / "report.html").is_file()


@pytest.mark.parametrize(
    ("behaviours", "fail_on", "code"),
    [
        (("0", "0"), "inconclusive", 0),
        (("0", "4"), "inconclusive", 4),
        (("0", "4"), "fail", 0),
        (("0", "4", "1"), "fail", 1),
        (("0", "4", "1"), "never", 0),
        (("0", "refuses"), "never", 3),
        (("1", "unsafe"), "never", 3),
    ],
)
def test_exit_codes(place: Path, behaviours: tuple[str, ...], fail_on: str, code: int) -> None:
    given = tasks(place, **{f"n{number}": behaviour for number, behaviour in enumerate(behaviours)})
    assert sweep(place, given, fail_on=fail_on).exit_code == code


def test_what_is_finished_is_not_done_again_and_what_is_not_is(place: Path) -> None:
    given = tasks(place, good="0", bad="1", broken="refuses")
    first = sweep(place, given)
    assert calls(place) == ["good", "bad", "broken"]
    again = sweep(place, given)
    assert calls(place)[3:] == ["broken"]
    assert [row for row in again.rows if row.name != "broken"] == [row for row in first.rows if row.name != "broken"]


@pytest.mark.parametrize("harm", ["inputs", "result", "mark", "half", "other verdict"])
def test_what_does_not_match_or_is_not_whole_is_done_again(place: Path, harm: str) -> None:
    (given,) = tasks(place, good="0")
    sweep(place, [given])
    run = next((place / "out" / "good").glob("2026-*"))
    if harm == "inputs":
        (given,) = tasks(place, good="0 ")
        assert given.inputs == "0 "
    elif harm == "result":
        (run / RESULT).unlink()
    elif harm == "mark":
        (place / "out" / "good" / "done.json").write_text("{")
    elif harm == "half":
        (run / RESULT).write_text((run / RESULT).read_text()[:200])
    else:
        (run / RESULT).write_text(results.failing().model_dump_json())
    assert sweep(place, [given]).outcome is Outcome.PASS
    assert calls(place) == ["good", "good"]


def test_a_report_that_is_missing_is_written_again_without_an_audit(place: Path) -> None:
    given = tasks(place, good="0")
    sweep(place, given)
    (report,) = (place / "out" / "good").glob("2026-*/report.junit.xml")
    report.unlink()
    assert sweep(place, given).outcome is Outcome.PASS
    assert report.is_file()
    assert calls(place) == ["good"]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("says 1 0", "the process ended with 0, its result says 1"),
        ("says 0 4", "the process ended with 4, its result says 0"),
        ("silent 0", "finished no folder"),
        ("silent 9", "the process ended with 9"),
        ("dies 9", "ended by SIGKILL"),
    ],
)
def test_a_process_without_its_verdict_has_none(place: Path, behaviour: str, said: str) -> None:
    (row,) = sweep(place, tasks(place, odd=behaviour)).rows
    assert row.outcome is Outcome.NOT_AUDITED
    assert said in row.reason
    assert not (place / "out" / "odd" / "done.json").exists()


def test_a_result_of_another_policy_does_not_count(place: Path) -> None:
    (row,) = sweep(place, tasks(place, good="0"), policy_sha256="0" * 64).rows
    assert row.outcome is Outcome.NOT_AUDITED
    assert "policy changed" in row.reason


@pytest.mark.parametrize("behaviour", ["dies 2", "ends 2"])
def test_a_process_that_is_killed_starts_again(place: Path, behaviour: str) -> None:
    assert sweep(place, tasks(place, shaky=behaviour)).outcome is Outcome.PASS
    assert calls(place) == ["shaky"] * 3


def test_an_error_that_nobody_foresaw_is_not_quoted(place: Path) -> None:
    (row,) = sweep(place, tasks(place, odd="crashes")).rows
    assert row.reason == "internal error, KeyError"
    assert "patient 17" not in (place / "out" / "sweep.html").read_text()
    log = place / "out" / "restricted" / "odd.log"
    assert "patient 17" in log.read_text()
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_interrupted_sweep_says_what_is_missing_and_goes_on(place: Path) -> None:
    given = tasks(place, good="0", bad="1", last="0")

    def interrupted(asked: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        yield from one_by_one(0)(asked[:1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(given, lambda: interrupted, summary(place), observer=SilentObserver(), clock=time.monotonic)
    left = SweepDocument.model_validate_json((place / "out" / "sweep.json").read_text())
    assert (left.outcome, left.exit_code) == (Outcome.NOT_AUDITED, 3)
    assert [row.name for row in left.rows if row.reason == "not audited yet"] == ["bad", "last"]
    assert sweep(place, given).outcome is Outcome.FAIL
    assert calls(place) == ["good", "bad", "last"]


def test_options_of_check_in_the_environment_are_not_passed_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REID_AUDIT_CHECK_DRY_RUN", "1")
    monkeypatch.setenv("HOME", str(place))
    sweep(place, tasks(place, good="tells REID_AUDIT_CHECK_DRY_RUN", other="tells HOME"))
    assert (place / "heard.txt").read_text().splitlines() == ["None", str(place)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two machines with one processor each, on this one."""
    with two_machines(CUDA_VISIBLE_DEVICES="7") as address:
        yield address


def on_cluster(address: str, retries: int = 2) -> Callable[[], Runner]:
    return partial(on_ray, address, Share(), retries, gpus_wanted=False)


def test_a_cluster_finds_the_same_and_no_task_stops_another(place: Path, cluster: str) -> None:
    given = tasks(place, good="0", bad="1", broken="refuses", odd="crashes", unsure="4")
    one = {row.name: row.model_copy(update={"seconds": 0.0}) for row in sweep(place, given).rows}
    shutil.rmtree(place / "out")
    found = run_sweep(given, on_cluster(cluster), summary(place), observer=SilentObserver(), clock=time.monotonic)
    assert {row.name: row.model_copy(update={"seconds": 0.0}) for row in found.rows} == one
    assert found.exit_code == 3


def test_a_worker_that_is_lost_starts_elsewhere_and_only_so_often(place: Path, cluster: str) -> None:
    given = tasks(place, once="loses 1", always="loses 9", good="0")
    found = run_sweep(given, on_cluster(cluster, 1), summary(place), observer=SilentObserver(), clock=time.monotonic)
    rows = {row.name: row for row in found.rows}
    assert [rows[name].outcome.value for name in ("once", "always", "good")] == ["pass", "not_audited", "pass"]
    assert "Ray gave it up, WorkerCrashedError" in rows["always"].reason
    assert sorted(calls(place)) == ["always", "always", "good", "once", "once"]


def test_a_task_that_cannot_begin_there_has_no_verdict(place: Path, cluster: str) -> None:
    (given,) = tasks(place, good="0")
    elsewhere = replace(given, working=place / "not on this machine")
    found = run_sweep([elsewhere], on_cluster(cluster), summary(place), observer=SilentObserver(), clock=time.monotonic)
    assert found.exit_code == 3
    assert "not on this machine" in found.rows[0].reason


def test_an_audit_without_a_share_of_a_gpu_sees_none(place: Path, cluster: str) -> None:
    given, start = tasks(place, good="tells CUDA_VISIBLE_DEVICES"), on_cluster(cluster)
    run_sweep(given, start, summary(place), observer=SilentObserver(), clock=time.monotonic)
    assert (place / "heard.txt").read_text() == "\n"


def test_a_cluster_that_is_not_there_is_refused(cluster: str) -> None:
    assert cluster != "not an address"
    with pytest.raises(PolicyError) as error:
        on_ray("not an address", Share(), 0, gpus_wanted=False)
    assert "cannot be joined" in error.value.what
