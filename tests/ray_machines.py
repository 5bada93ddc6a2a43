"""A Ray cluster of two machines with one processor each, played on this one."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import missing

VARIABLES = {
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_worker_niceness": "0",  # else audits stand still where this machine is busy
}
STARTS = 3
"""How often a machine may fail to come up within Ray's own limits, as it does where this one is busy."""


@contextmanager
def two_machines(**variables: str) -> Iterator[str]:
    """The address of the cluster, which has more variables in its environment; a skip where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        missing("ray (pip install -e .[ray])")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**VARIABLES, **variables}.items():
            patch.setenv(name, value)
        machines = _started()
        try:
            yield str(machines.address)
        finally:
            machines.shutdown()


def _started() -> Any:
    for left in reversed(range(STARTS)):
        machines = importlib.import_module("ray.cluster_utils").Cluster()
        try:
            machines.add_node(num_cpus=1, include_dashboard=False)
            machines.add_node(num_cpus=1)
            return machines
        except Exception:  # Ray raises a plain one where a machine is late
            machines.shutdown()
            if not left:
                raise
            logging.getLogger("ray").warning("a machine did not start: once more")
    raise AssertionError("not reached")
