"""Stands in for ``check``: what it does is written in the checkpoint. Run by path, with the options of check.

``1`` finishes a run with the prepared result of that exit code and ends with it; ``says 1 4`` ends with 4 all the
same; ``refuses`` ends with a refusal, ``crashes`` with an error that nobody foresaw, ``silent 0`` with nothing, and
``dies 2`` is killed the first two times, ``ends 2`` told to stop by SIGTERM; ``loses 2`` kills the worker that started
it so often; ``tells NAME`` writes down a variable of its environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path


def finish(out: Path, prepared: Path) -> None:
    """A run's folder, and ``latest`` leading to it."""
    count = len(list(out.glob("2026-*"))) if out.is_dir() else 0
    run = out / f"2026-01-02T03-04-{count:02}Z-0123abcd"
    shutil.copytree(prepared, run)
    (out / "latest").unlink(missing_ok=True)
    (out / "latest").symlink_to(run.name)


def called(checkpoint: Path) -> int:
    """How often it was, this time included."""
    return (checkpoint.parent / "calls.txt").read_text().split().count(checkpoint.name)


def main() -> int:
    words = sys.argv[1:]
    out = Path(next(word.removeprefix("--out=") for word in words if word.startswith("--out=")))
    checkpoint = Path(words[-1])
    prepared = checkpoint.parent / "prepared"
    with (checkpoint.parent / "calls.txt").open("a") as calls:
        calls.write(f"{checkpoint.name}\n")
    match checkpoint.read_text().split():
        case ["refuses"]:
            sys.stderr.write("not audited: of no known format\nclosest: nothing\nhelp: save it again\n")
            return 3
        case ["unsafe"]:
            sys.stderr.write("refused: it would run code\nclosest: os.system\nhelp: do not open it\n")
            return 5
        case ["crashes"]:
            sys.stderr.write("not audited: internal error, KeyError\nclosest: 'patient 17'\nhelp: report it\n")
            return 3
        case ["dies", times]:
            if called(checkpoint) <= int(times):
                os.kill(os.getpid(), signal.SIGKILL)
            finish(out, prepared / "0")
            return 0
        case ["ends", times]:
            if called(checkpoint) <= int(times):
                sys.stderr.write("not audited: interrupted\nclosest: no verdict was reached\nhelp: run again\n")
                return 3
            finish(out, prepared / "0")
            return 0
        case ["loses", times]:
            if called(checkpoint) <= int(times):
                os.kill(os.getppid(), signal.SIGKILL)
                return 3
            finish(out, prepared / "0")
            return 0
        case ["tells", name]:
            with (checkpoint.parent / "heard.txt").open("a") as said:
                said.write(f"{os.environ.get(name)}\n")
            finish(out, prepared / "0")
            return 0
        case ["says", code, ends]:
            finish(out, prepared / code)
            return int(ends)
        case ["silent", code]:
            return int(code)
        case [code]:
            finish(out, prepared / code)
            return int(code)
    return 3


if __name__ == "__main__":
    sys.exit(main())
