"""Do independent restarts bring back the same images? The only evidence a checkpoint gives without films."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from reid_audit.records import Measured, Measurement, Metric, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.similarity import MatchSpace


def consensus(
    space: MatchSpace, runs: Sequence[Tensor], control_runs: Sequence[Tensor], rng: np.random.Generator
) -> Measurement:
    """Mean cosine of an image with its best counterpart in another restart, beside the negative control's.

    ``runs`` and ``control_runs`` hold the images [R, C, H, W] of two or more restarts each. Every run is cut to the
    number of images of the shortest, because more candidates agree better. The interval bootstraps images. The result
    is always an indicator, because restarts may agree on an image that is nobody's.
    """
    if len(runs) < 2 or len(control_runs) < 2:
        return Unmeasured(metric=Metric.CONSENSUS, reason=Reason.CONTROL_NOT_RUN)
    count = min(run.shape[0] for run in (*runs, *control_runs))
    agreement = _agreement(space, runs, count)
    control = _agreement(space, control_runs, count)
    ends = stats.bootstrap((agreement,), np.mean, n_resamples=1000, method="percentile", rng=rng).confidence_interval
    return Measured(
        metric=Metric.CONSENSUS,
        value=float(agreement.mean()),
        low=float(ends.low),
        high=float(ends.high),
        control=float(control.mean()),
        n=int(agreement.size),
        indicator=True,
    )


def _agreement(space: MatchSpace, runs: Sequence[Tensor], count: int) -> Floats:
    """[runs * count] mean over the other runs of each image's best cosine."""
    embedded = [space.embed(run[:count]) for run in runs]
    best = torch.zeros(len(runs), count)
    for a, b in combinations(range(len(runs)), 2):
        similarity = embedded[a] @ embedded[b].T
        best[a] += similarity.max(dim=1).values
        best[b] += similarity.max(dim=0).values
    return np.asarray((best / (len(runs) - 1)).flatten().double().numpy())
