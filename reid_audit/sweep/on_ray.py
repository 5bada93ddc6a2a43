"""A sweep on a Ray cluster: one Ray task an audit, with its share of processors and GPUs.

Ray is imported when it is asked for. What is lost with a worker or a machine starts again elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from reid_audit.errors import PolicyError, one_line
from reid_audit.sweep.task import Ended, Runner, Task, carry_out

LOCAL = "local"
"""Address of a cluster that is started on this machine for the time of the sweep."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one audit is given of a machine."""

    processors: float = 1.0
    gpus: float | None = None
    """A fraction lets several audits share a GPU. None: a whole one where the cluster has some, and none elsewhere."""


def on_ray(address: str, share: Share, retries: int, *, gpus_wanted: bool) -> Runner:
    """Tasks on the cluster at ``address``. gpus_wanted: whether audits may use one at all.

    Raises PolicyError where Ray is not installed, or the cluster cannot be joined or has no such machine.
    """
    ray = library()
    _join(ray, address)
    gpus = share.gpus if share.gpus is not None else float(gpus_wanted and ray.cluster_resources().get("GPU", 0) > 0)
    _require(ray, share.processors, gpus)

    hidden = {} if gpus else {"CUDA_VISIBLE_DEVICES": ""}  # a GPU that was not asked for may be another audit's

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, Ended]]:
        remote = ray.remote(num_cpus=share.processors, num_gpus=gpus, max_retries=retries)(carry_out)
        under_way = {remote.remote(task, retries, hidden): task for task in tasks}
        try:
            while under_way:
                (first, *_), _ = ray.wait(list(under_way), num_returns=1)
                yield under_way.pop(first), _ended(ray, first)
        finally:
            ray.shutdown()

    return run


def library() -> Any:
    """Ray, which tells nobody how it is used unless somebody set that. Raises PolicyError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return import_module("ray")
    except ImportError as error:
        raise PolicyError(
            "--ray-address needs ray",
            closest=f"{error}; without --ray-address the audits run one after another",
            remedy="pip install 'reid-audit[ray]'",
        ) from error


def _join(ray: Any, address: str) -> None:
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        more = {"include_dashboard": False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except Exception as error:  # Ray's own, those of its sockets, and assertions share no base
        raise PolicyError(
            f"the Ray cluster at {address} cannot be joined",
            closest=one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)[:300],
            remedy="start one with 'ray start --head', or give --ray-address local for this machine alone",
        ) from error


def _require(ray: Any, processors: float, gpus: float) -> None:
    """Raise PolicyError where no machine of the cluster could ever run an audit: it would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(m.get("CPU", 0) >= processors and m.get("GPU", 0) >= gpus for m in machines):
        return
    has = "; ".join(f"CPU {m.get('CPU', 0):g}, GPU {m.get('GPU', 0):g}" for m in machines)
    ray.shutdown()
    raise PolicyError(
        f"no machine of the cluster has what one audit is to get: CPU {processors:g}, GPU {gpus:g}",
        closest=has or "the cluster has no machine",
        remedy="lower --cpus-per-audit or --gpus-per-audit, or start such a machine first",
    )


def _ended(ray: Any, reference: Any) -> Ended:
    """How a Ray task ended; one that was lost, or could not begin, has no verdict."""
    try:
        found: Ended = ray.get(reference)
    except Exception as error:  # a lost worker or machine, or what the task itself raised
        said = one_line(str(error).strip().splitlines()[-1] if str(error).strip() else "")[:300]
        return Ended(3, 0.0, said=(f"Ray gave it up, {type(error).__name__}", f"closest: {said}"))
    return found
