"""What a command or a call used, whatever the test process holds or held before.

A child's ``ru_maxrss`` begins with the peak of the process that forked it. Commands are therefore started by a small
fresh parent, which measures them; calls are measured against the kernel's resettable high-water mark.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LAUNCHER = """
import json, os, subprocess, sys
out, err, used = (open(name, "wb") for name in sys.argv[1:4])
started = subprocess.Popen(sys.argv[4:], stdout=out, stderr=err)
_, status, spent = os.wait4(started.pid, 0)
found = [os.waitstatus_to_exitcode(status), spent.ru_utime + spent.ru_stime, spent.ru_maxrss]
used.write(json.dumps(found).encode())
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it used, the processes it waited for included."""

    code: int
    stdout: str
    lines: list[str]
    """Of stderr."""
    seconds: float
    """Of processor time."""
    peak: int
    """KiB of the largest process."""


def launched(command: Sequence[str], *, cwd: Path, notes: Path) -> Ended:
    """Run ``command`` in ``cwd`` from a fresh parent; ``notes`` is a folder for what it says."""
    out, err, used = (notes / name for name in ("out", "err", "used"))
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *map(str, (out, err, used)), *command],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    code, seconds, peak = json.loads(used.read_text())
    return Ended(code, out.read_text(), err.read_text().strip().splitlines(), seconds, peak)


def forget_peak() -> None:
    """Start a new high-water mark of this process, where the kernel allows it."""
    try:
        RESET.write_text("5")
    except OSError:
        return


@cache
def slowness() -> float:
    """How much longer this processor takes for a loop in Python than the one the limits were set on, 1 at least."""
    times = []
    for _ in range(3):
        started = time.process_time()
        sum(number * number for number in range(1_000_000))
        times.append(time.process_time() - started)
    return max(1.0, min(times) / 0.03)


def peak() -> int:
    """KiB of this process's high-water mark."""
    try:
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
