"""Adjusted log odds: what the audited network says of a film beyond what networks of its kind say of it.

    score(x) = f(phi(x)) - a - b mean_k f(phi_k(x)),    f(phi) = min(max(phi, -C), C)

a and b are the least squares fit of f(phi) to the mean of the references over all films, blind to who is a member. A
difficulty calibration (Watson et al., ICLR 2022) that finds out how far the references speak of the audited network: b
is near 1 for networks trained alike, and near 0, which leaves the log odds alone, for those that have nothing in
common with it; a ratio to their mean (RMIA) would then add their noise. Beyond C nats a network is certain, and how
certain says nothing.
"""

from __future__ import annotations

import numpy as np

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.observed import Observed

CERTAIN = 6.0
"""C in nats: a chance of 0.9975."""


def adjusted(seen: Observed) -> Floats:
    """[N] larger is more member-like; 0 in the mean over the films."""
    own = np.clip(seen.target, -CERTAIN, CERTAIN)
    usual = np.clip(seen.references, -CERTAIN, CERTAIN).mean(axis=0)
    spread = float(((usual - usual.mean()) ** 2).sum())
    slope = float((own * (usual - usual.mean())).sum()) / spread if spread > 0 else 0.0
    return np.asarray(own - own.mean() - slope * (usual - usual.mean()))
