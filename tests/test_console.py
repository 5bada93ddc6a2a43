"""What the terminal shows: every stage with its time and the budget left; plain lines in a log; nothing when quiet."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest
import results
from rich.console import Console

from reid_audit import console
from reid_audit.console import EVERY, ConsoleObserver, console_for, show_result
from reid_audit.observer import Noted, StageAdvanced, StageEnded, StageStarted, stage
from reid_audit.records import Measured, Metric, replaced

RUN = """
import time
from reid_audit.console import ConsoleObserver, console_for
from reid_audit.observer import StageAdvanced, StageEnded, StageStarted
with ConsoleObserver(console_for(quiet=False), ceiling=600.0) as observer:
    observer.notice(StageStarted("target: moments", 40))
    for step in range(1, 41):
        time.sleep(0.02)
        observer.notice(StageAdvanced("target: moments", step, 3.5 / step))
    observer.notice(StageEnded("target: moments", "energy 3.5 to 0.09"))
"""


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def logged(ceiling: float | None) -> list[str]:
    stream, clock = io.StringIO(), Clock()
    with ConsoleObserver(Console(file=stream, soft_wrap=True), ceiling=ceiling, clock=clock) as observer:
        observer.notice(Noted("steps: 100 of 500 [not markup]"))
        observer.notice(StageStarted("target: moments", 100))
        for step in range(1, 101):
            clock.now += 1.0
            observer.notice(StageAdvanced("target: moments", step, 10.0 / step))
        observer.notice(StageEnded("target: moments", "energy 10 to 0.1"))
        observer.notice(StageStarted("scoring"))
        observer.notice(StageEnded("scoring"))
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_now_and_then() -> None:
    lines = logged(ceiling=300.0)
    assert EVERY == 8.0
    assert lines[:4] == [
        "steps: 100 of 500 [not markup]",
        "target: moments: started, 100 steps",
        "target: moments: 8/100 steps, energy 1.25, about 1 min 32 s to go, budget 4 min 52 s left",
        "target: moments: 16/100 steps, energy 0.625, about 1 min 24 s to go, budget 4 min 44 s left",
    ]
    assert lines[-3:] == [
        "target: moments: energy 10 to 0.1 (1 min 40 s)",
        "scoring: started",
        "scoring: done (0.0 s)",
    ]
    assert len(lines) == 2 + 12 + 3
    assert not any("budget" in line for line in logged(ceiling=None))


def test_a_stage_that_tells_nothing_is_named_all_the_same() -> None:
    stream, clock = io.StringIO(), Clock()
    observer = ConsoleObserver(Console(file=stream, soft_wrap=True), ceiling=100.0, began=-10.0, clock=clock)
    observer.notice(StageStarted("scoring"))
    observer.notice(StageStarted("exchangeability", expected=20.0))
    for _ in range(30):
        clock.now += 1.0
        observer.beat()
    observer.notice(StageEnded("exchangeability"))
    for _ in range(8):
        clock.now += 1.0
        observer.beat()
    observer.notice(StageEnded("scoring"))
    clock.now += 8.0
    observer.beat()
    assert stream.getvalue().splitlines() == [
        "scoring: started",
        "exchangeability: started, about 20 s",
        "exchangeability: 8.0 s so far, about 12 s to go, budget 1 min 22 s left",
        "exchangeability: 16 s so far, about 4.0 s to go, budget 1 min 14 s left",
        "exchangeability: 24 s so far, budget 1 min 6 s left",
        "exchangeability: done (30 s)",
        "scoring: 38 s so far, budget 52 s left",
        "scoring: done (38 s)",
        "at work, budget 44 s left",
    ]


def test_what_is_brief_is_named_where_it_is_not() -> None:
    stream, clock = io.StringIO(), Clock()
    observer = ConsoleObserver(Console(file=stream, soft_wrap=True), clock=clock)
    for seconds in (7.0, 9.0):
        with stage(observer, "reading the checkpoint", brief=True):
            clock.now += seconds
            observer.beat()
        observer.notice(Noted("read"))
    assert stream.getvalue().splitlines() == [
        "read", "reading the checkpoint: 9.0 s so far", "reading the checkpoint: done (9.0 s)", "read"
    ]  # fmt: skip


def test_nobody_has_to_tell_anything_for_a_line_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is busy, in one call into a library, is named by a thread of its own."""
    monkeypatch.setattr(console, "EVERY", 0.02)
    monkeypatch.setattr(console, "BEAT", 0.005)
    stream = io.StringIO()
    with ConsoleObserver(Console(file=stream, soft_wrap=True)) as observer:
        observer.notice(StageStarted("exchangeability"))
        deadline = time.monotonic() + 30.0
        while "so far" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        observer.notice(StageEnded("exchangeability"))
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("exchangeability: 0.0 s so far")
    time.sleep(0.1)
    assert stream.getvalue().splitlines() == lines


def in_terminal(**environment: str) -> str:
    """What ``RUN`` writes to a terminal 120 columns wide."""
    control, terminal = pty.openpty()
    names = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CI", "FORCE_COLOR")}
    done = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**names, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30", **environment},
    )
    os.close(terminal)
    shown = b""
    # The kernel ends what a terminal says with EIO instead of an empty read.
    with contextlib.suppress(OSError):
        while piece := os.read(control, 65536):
            shown += piece
    assert done.wait() == 0
    os.close(control)
    return shown.decode()


def test_a_terminal_gets_a_bar_with_both_times() -> None:
    shown = in_terminal()
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(
        r"target: moments .*\d+/40 energy [\d.]+ \d:\d\d:\d\d (\d:\d\d:\d\d|-:--:--) budget \d+ min( \d+ s)? left",
        plain,
    )
    assert "target: moments: energy 3.5 to 0.09 (" in plain


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(environment: dict[str, str]) -> None:
    shown = in_terminal(**environment)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)
    assert "energy 3.5 to 0.09" in shown


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    console = console_for(quiet=True)
    with ConsoleObserver(console, ceiling=60.0) as observer:
        observer.notice(StageStarted("scoring"))
        observer.notice(StageEnded("scoring"))
    show_result(console, results.failing())
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize("name", ["failing", "passing", "screening", "demoted", "waived"])
def test_the_summary_fits_a_log(name: str) -> None:
    stream = io.StringIO()
    result = getattr(results, name)()
    show_result(Console(file=stream, width=100, soft_wrap=True), result)
    text = stream.getvalue()
    assert result.verdict.outcome.value.upper() in text
    assert "\x1b" not in text
    assert len(text.splitlines()) < 45
    tables = [line for line in text.splitlines() if re.match(r"^[a-z_0-9]+( \(indicator\))? {2,}", line)]
    assert len(tables) >= 14
    assert max(map(len, tables)) <= 100
    if name == "demoted":
        assert "linkage_p (indicator)" in text
        assert "indicators do not count: training and hold-out images, or their labels, differ in kind" in text


def test_a_value_beside_its_limit_is_said_from_it() -> None:
    result = results.passing()
    close = result.model_copy(update={"measurements": replaced(result.measurements, (
        Measured(metric=Metric.LINKAGE_P, value=0.01000001, n=388),
        Measured(metric=Metric.ATTACK_POWER, value=0.0099999, n=100),
    ))})  # fmt: skip
    stream = io.StringIO()
    show_result(Console(file=stream, width=100, soft_wrap=True), close)
    assert re.search(r"^linkage_p +0\.01000001 ", stream.getvalue(), re.M)
    assert re.search(r"^attack_power +0\.0099999 ", stream.getvalue(), re.M)
