"""Every score family a network offers, of given images; larger is more member-like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.network.difference import Displacement
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.difference import spans
from reid_audit.score.membership.loss import losses
from reid_audit.score.membership.margin import margins
from reid_audit.score.membership.moments import collective
from reid_audit.score.membership.stationarity import stationarity


@dataclass(frozen=True, slots=True, eq=False)
class MembershipScores:
    """What the weights say of given images."""

    scores: dict[str, Floats]
    """Score families, [N] each, larger is more member-like."""
    explaining: float | None = None
    """How many images, effectively, share the explanation of the stored statistics; None without BatchNorm."""


def membership_scores(
    target: Target,
    inputs: Tensor,
    labels: NDArray[np.str_],
    *,
    path: Displacement | None = None,
    ordinary: Iterable[Tensor] = (),
) -> MembershipScores:
    """Membership scores of inputs [N, C, H, W], as the network sees them, under the target's weights.

    Statistics of BatchNorm layers where there are any, the classifier's stationarity where there are none, the margin
    of every classifier, the loss where training labels [N] are given ("" where unknown), the weight difference where
    ``path`` leads from a known base; ``ordinary`` are then batches [B, C, H, W] of the prior to compare with.
    """
    scores: dict[str, Floats] = {}
    explaining = None
    if statistics_layers(target.module):
        found = collective(target, inputs)
        scores["moments"], explaining = found.evidence, found.explaining
    elif (directions := stationarity(target, inputs)) is not None:
        scores["stationarity"] = directions
    if path is not None and (within := spans(path, inputs, ordinary)) is not None:
        scores["difference"] = within.double().cpu().numpy()
    if target.match.head == "features":
        return MembershipScores(scores, explaining)
    if (firm := margins(target, inputs)) is not None:
        scores["margin"] = firm.double().cpu().numpy()
    if (loss := losses(target, inputs, labels)) is not None:
        scores["loss"] = -loss.double().cpu().numpy()
    return MembershipScores(scores, explaining)
