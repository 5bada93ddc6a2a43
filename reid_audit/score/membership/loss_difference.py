"""Loss difference: how much better the audited network answers a film than networks that never saw it.

    score(x) = mean over references without x of loss(x) - loss of the audited network(x),    loss = log (1 + exp -phi)

Difficulty calibration (Watson et al., ICLR 2022): an easy film is answered well by everybody.
"""

from __future__ import annotations

import numpy as np

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.observed import Observed


def loss_difference(seen: Observed) -> Floats:
    """[N] larger is more member-like; films that every reference was trained on are compared with all of them."""
    losses = np.logaddexp(0.0, -seen.references)
    outside = Observed(seen.target, losses, seen.inside).mean_outside()
    usual = np.where(np.isnan(outside), losses.mean(axis=0), outside)
    return np.asarray(usual - np.logaddexp(0.0, -seen.target))
