"""How many threads a command computes with, and how they wait."""

from __future__ import annotations

import os
import subprocess
import sys

LIMIT = "LOKY_MAX_CPU_COUNT"
"""Stands for a container's quota: the library that reads quotas counts this limit as one."""
READY = "import os; from reid_audit.cli.computing import make_ready; make_ready();"
THREADS = READY + "import torch; print(torch.get_num_threads())"
WAITING = (
    "import os, reid_audit.cli as cli;"
    "cli.exit_code = lambda **_: print(os.environ['OMP_WAIT_POLICY'], flush=True) or 0; cli.run()"
)


def printed(code: str, **environment: str) -> str:
    """What a fresh Python prints; only what is given here is set of what a caller may set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "LOKY_"))}
    kept["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_a_quota_below_the_processors_is_kept_to() -> None:
    assert printed(THREADS, **{LIMIT: "1"}) == "1"


def test_what_the_caller_has_set_stays() -> None:
    assert printed(READY + "print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS="3", **{LIMIT: "1"}) == "3"
    assert printed(WAITING, OMP_WAIT_POLICY="active") == "active"


def test_threads_wait_asleep() -> None:
    assert printed(WAITING) == "passive"
