"""Neighbours: what the audited network says of a film beyond what it says of the film moved a little.

    z(x) = (f(phi(x)), f(phi(mirrored x)), f(mean over four shifts s of phi(s x))),    f(phi) = min(max(phi, -C), C)

What training leaves at the film itself it leaves less at its neighbours, which are as difficult (Mattern et al.,
Findings of ACL 2023; with noise: Jayaraman et al., PoPETs 2021). How the three are weighed is learned on the references
(learned.py), and they are used where the references show that they say more than the film does,

    2 (log likelihood with neighbours - log likelihood without) >= GAIN

by the likelihood ratio test (Wilks 1938). References trained with care show nothing of the kind, and weights that were
fitted to them would be noise.
"""

from __future__ import annotations

import numpy as np

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.learned import differences, learned, likelihood, weights
from reid_audit.score.membership.observed import Observed

CERTAIN = 9.0
"""C in nats."""
RIDGE = 1e-4
GAIN = 13.8
"""The 0.1 % point of chi squared with two degrees of freedom."""


def neighbours(seen: Observed) -> Floats | None:
    """[N] larger is more member-like, 0 in the mean; None where nobody asked them, or the references show no gain."""
    if seen.near is None:
        return None
    target, said = (np.clip(views, -CERTAIN, CERTAIN) for views in (seen.near.target, seen.near.references))
    references = np.swapaxes(said, 1, 2)
    alone = np.clip(seen.references, -CERTAIN, CERTAIN)[..., None]
    if 2.0 * (_explained(references, seen) - _explained(alone, seen)) < GAIN:
        return None
    return learned(target.T, references, seen.inside, ridge=RIDGE)


def _explained(references: Floats, seen: Observed) -> float:
    """How likely references [K, N, D] make their own training, at the weights fitted to it; 0 without any pair."""
    pairs = differences(references, seen.inside)
    return likelihood(pairs, weights(pairs, RIDGE)) if len(pairs) else 0.0
