"""The benchmark of the budget times what a command says, on either clock."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.budget import Case, cells, holds, timed
from benchmarks.lab.generated import outcome

WAITS = "import sys, time; print('one', file=sys.stderr, flush=True); time.sleep(0.6); sys.exit(4)"
WORKS = """
import sys, time
print('one', file=sys.stderr, flush=True)
while time.process_time() < 0.6:
    pass
print('two', file=sys.stderr, flush=True)
"""
ROW = {
    "films": 100, "side": 32, "seconds": 60, "clock": "wall", "taken": 69.0, "first_line": 0.5, "silence": 8.1,
    "after": "scoring", "exit_code": 4, "cpu": 50.0, "load": 1.2, "verdict": "inconclusive", "smaller": [], "late": [],
}  # fmt: skip


def test_waiting_counts_on_the_wall_and_not_on_a_processor(tmp_path: Path) -> None:
    wall = timed((sys.executable, "-c", WAITS), tmp_path / "wall.txt", dict(os.environ), "wall")
    assert (wall.exit_code, wall.after) == (4, "one")
    assert wall.taken >= wall.silence >= 0.5
    assert "one" in (tmp_path / "wall.txt").read_text()
    own = timed((sys.executable, "-c", WAITS), tmp_path / "cpu.txt", dict(os.environ), "cpu")
    assert own.silence < 0.5


def test_work_counts_on_a_processor(tmp_path: Path) -> None:
    found = timed((sys.executable, "-c", WORKS), tmp_path / "cpu.txt", dict(os.environ), "cpu")
    assert (found.exit_code, found.after) == (0, "one")
    assert found.taken >= 0.55
    assert found.silence > found.first_line


@pytest.mark.parametrize(
    ("taken", "seconds", "held"), [(69.0, 60, True), (71.0, 60, False), (628.0, 600, True), (631.0, 600, False)]
)
def test_ten_seconds_or_a_twentieth_are_allowed(taken: float, seconds: int, held: bool) -> None:
    row = {**ROW, "taken": taken, "seconds": seconds}
    assert holds(row) is held
    assert cells(row)[5] == ("yes" if held else "no")


def test_cases_of_different_clocks_are_kept_apart(tmp_path: Path) -> None:
    assert Case(100, 32, 60).name != Case(100, 32, 60, "cpu").name
    assert outcome(tmp_path) == {"verdict": "none", "smaller": [], "late": []}
