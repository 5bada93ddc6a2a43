"""How many threads a command computes with, and how they wait for each other.

Libraries read either from the environment as they are loaded, so both are settled before. What the caller has set
stays.
"""

from __future__ import annotations

import os

COUNT, WAITING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"


def wait_asleep() -> None:
    """Let threads that wait for others sleep, instead of looking for them in a loop.

    PyTorch's threads wait after every operation. On a processor that another process uses as well, one that loops keeps
    the thread it waits for from running (docs/performance.md, "Beside other work").
    """
    os.environ.setdefault(WAITING, "passive")


def keep_to_quota() -> None:
    """Start no more threads than the container's quota gives processors, which the libraries do not look at."""
    if COUNT in os.environ:
        return
    from joblib import cpu_count

    given = cpu_count()
    if given < _usable():
        os.environ[COUNT] = str(given)


def _usable() -> int:
    """Processors that this process may run on, quota aside; systems without affinities let it run on all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
