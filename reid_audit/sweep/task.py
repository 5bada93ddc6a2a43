"""One audit of a sweep, and the process that carries it out: the command ``check`` with a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from reid_audit.checkpoint.supervise import search_path
from reid_audit.errors import one_line
from reid_audit.runs import chosen, finished, runs_below
from reid_audit.severity import OF_VERDICTS

CHECK: tuple[str, ...] = ("-P", "-m", "reid_audit", "check")
REFUSALS = ("not audited: ", "refused: ", "usage: ")
"""How the first of a refusal's three lines begins."""
NO_MORE: Mapping[str, str] = MappingProxyType({})
TAIL = 20_000
"""Bytes of the log's end that are searched for it."""


@dataclass(frozen=True, slots=True)
class Task:
    """An audit as every machine of a sweep understands it; paths mean the same file on all of them."""

    name: str
    seed: int
    row: int
    """Of the table, as a spreadsheet counts."""
    checkpoint: str
    options: tuple[str, ...]
    """Of ``check``, one word each."""
    folder: Path
    """Its ``--out``: of no other audit."""
    log: Path
    """What it says; restricted, as nobody checked what of it may be shown."""
    working: Path
    """The working directory, in which relative paths begin and the policy is looked for."""
    inputs: str
    """Digest of all it depends on."""
    command: tuple[str, ...] = CHECK
    """What Python runs: ``check``."""

    @property
    def title(self) -> str:
        """The name that no other audit of the sweep has."""
        return f"{self.name}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process of an audit ended."""

    code: int
    """Its exit code, negative where a signal ended it."""
    seconds: float
    run: str = ""
    """The folder that this process finished, by its name below the task's; empty: none."""
    said: tuple[str, ...] = ()
    """Where there is no verdict: why, in up to three lines as a refusal has them, without its headline."""


Runner = Callable[[Sequence[Task]], Iterator[tuple[Task, Ended]]]
"""Carries out tasks and tells how each ended, in the order in which they do."""


def one_by_one(retries: int) -> Runner:
    """Tasks one after another on this machine."""

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        for task in tasks:
            yield task, carry_out(task, retries)

    return run


def carry_out(task: Task, retries: int, variables: Mapping[str, str] = NO_MORE) -> Ended:
    """Audit; again, up to ``retries`` times, where a signal ended the process and not what it found.

    What an attempt had finished of the attack the next one takes over. variables: more of the environment.
    """
    for left in range(retries, -1, -1):
        ended = _attempt(task, {**_environment(os.environ), **variables})
        if not left or not cut_short(ended):
            return ended
    raise ValueError("retries must not be negative")


def cut_short(ended: Ended) -> bool:
    """Whether a signal ended the process: at once, or SIGTERM, which it says and ends with 3."""
    return ended.code < 0 or ended.said[:1] == ("interrupted",)


def _attempt(task: Task, environment: dict[str, str]) -> Ended:
    task.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before, began = set(runs_below(task.folder)), time.monotonic()
    command = [sys.executable, *task.command, *task.options, "--resume", f"--out={task.folder}", "--", task.checkpoint]
    with os.fdopen(os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        done = subprocess.run(
            command, cwd=task.working, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=log, check=False,
        )  # fmt: skip
    seconds, newest = time.monotonic() - began, chosen(task.folder)
    run = newest.name if newest not in before and newest != task.folder and finished(newest) else ""
    return Ended(done.returncode, seconds, run, last_words(task.log, done.returncode))


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Of the process: options come from the command line alone, and a source tree is found."""
    kept = {name: value for name, value in given.items() if not name.startswith("REID_AUDIT_CHECK_")}
    return {**kept, **search_path(), "NO_COLOR": "1"}


def last_words(log: Path, code: int) -> tuple[str, ...]:
    """Why there is no verdict: the log's last refusal, or what ended the process; nothing where there is one.

    Of an error that nobody foresaw the kind alone is given: its text may quote anything.
    """
    if code in OF_VERDICTS:
        return ()
    if code < 0:
        known = {s.value: s.name for s in signal.Signals}
        often = "the system ends a process so when memory runs out" if -code == signal.SIGKILL else "it crashed"
        return (f"the process was ended by {known.get(-code, f'signal {-code}')}", f"closest: {often}")
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL))
        lines = [one_line(line) for line in stream.read().decode(errors="replace").splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith(REFUSALS)]
    if not starts:
        return (f"the process ended with {code}",)
    what, *others = lines[starts[-1] : starts[-1] + 3]
    if "internal error" in what:
        others = []
    return (what.partition(": ")[2], *others)
