"""By how much one score tells training patients better than another score of the same images.

    gain = AUC(other) - AUC(used)
    error^2 = var_members(V_other - V_used) / M + var_others(W_other - W_used) / N

V is the share of the N other images that a member outscores, W the share of the M members that outscore another image;
the mean of either is the area under the ROC curve (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from reid_audit.score.calibration import ONE_SIDED, Bools, Floats


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of areas, -1 to 1, and the lower end of its interval."""

    value: float
    low: float


def auc_gain(other: Floats, used: Floats, is_member: Bools, *, deviations: float = ONE_SIDED) -> Gain:
    """The AUC of ``other`` less that of ``used``, scores [N] of the same images; larger is more member-like.

    deviations: how far down the interval goes, in standard errors; by default it is the one-sided 95 % interval. Both
    sides need two images at least, or the interval is not a number.
    """
    before, after = _placements(used, is_member), _placements(other, is_member)
    members, others = after[0] - before[0], after[1] - before[1]
    error = np.sqrt(members.var(ddof=1) / members.size + others.var(ddof=1) / others.size)
    value = float(members.mean())
    return Gain(value, value - deviations * float(error))


def _placements(scores: Floats, is_member: Bools) -> tuple[Floats, Floats]:
    """Share of the other side that each member outscores [M], and that outscores each of the others [N - M]; ties count
    half. Either mean is the AUC."""
    ranks, members, others = rankdata(scores), scores[is_member], scores[~is_member]
    above = (ranks[is_member] - rankdata(members)) / others.size
    below = 1.0 - (ranks[~is_member] - rankdata(others)) / members.size
    return above, below
