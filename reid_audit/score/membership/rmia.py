"""RMIA: how much likelier the audited network finds a film's answer than networks do on average.

    r(x) = p(x | audited) / p(x),    p(x) = (mean over references with x + mean over references without x) / 2
                                     p(x) = ((1 + a) (mean over references without x) + 1 - a) / 2, where none has x

Zarifzadeh et al., "Low-Cost High-Power Membership Inference Attacks" (ICML 2024), whose score is the share of other
films z with r(x) / r(z) >= gamma. Films of one audit are all compared with the same z, so that share is a growing
function of r(x) and ranks films as r(x) does; log r(x) is given, which has no ties at the top.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.observed import Observed

A = 0.3
"""How far the mean of networks without a film stands for that of networks with it (the authors' value for small
networks)."""
LEAST = 1e-12


def rmia(seen: Observed) -> Floats:
    """[N] log r(x); larger is more member-like."""
    chances = Observed(seen.target, expit(seen.references), seen.inside)
    inside, outside = chances.mean_inside(), chances.mean_outside()
    offline = 0.5 * ((1.0 + A) * outside + 1.0 - A)
    average = np.where(np.isnan(outside), inside, np.where(np.isnan(inside), offline, 0.5 * (inside + outside)))
    return np.asarray(-np.logaddexp(0.0, -seen.target) - np.log(np.maximum(average, LEAST)))
