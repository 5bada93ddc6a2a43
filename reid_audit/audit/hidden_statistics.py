"""The same question of ``preprocess_fit`` to the stored statistics: does another preprocessing show more of membership?

The average film hardly changes when all films are turned and inverted, so the first layers' misfit to it is small under
a wrong preprocessing too. Which films together explain the statistics (network/explanation.py) comes out wrong then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from reid_audit.arch.target import Target
from reid_audit.audit.hidden_membership import HIDDEN, Hidden
from reid_audit.audit.preprocessing import Specimens
from reid_audit.budget import Pace
from reid_audit.network.joint_fit import explained_by
from reid_audit.network.search import count_at
from reid_audit.records import Measured, Metric, PreprocessSpec, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.gain import auc_gain

FILMS = 128
"""Of either cohort, at most."""
FEWEST = 8
DEVIATIONS = 4.0
"""Standard errors that a gain has to be above ``HIDDEN``. A film's part depends on all others, so that the errors of
independent films are too small: chance alone is 1.6 of them above nothing for one network in eight."""


def hidden_in_statistics(
    target: Target,
    used: PreprocessSpec,
    others: Sequence[PreprocessSpec],
    members: Specimens,
    strangers: Specimens,
    pace: Pace | None = None,
) -> Hidden:
    """By how much one of ``others`` shows more of who was in the training than ``used`` does.

    The value is what it adds to the AUC of the films' part in an explanation of the statistics, at the lower end of its
    interval, over ``HIDDEN``; 0 where none adds anything. Unmeasured of fewer than ``FEWEST`` films of either cohort.
    Raises OutOfTime.
    """
    rivals = tuple(dict.fromkeys(spec for spec in others if spec != used))
    ways = (used, *rivals)
    count = min(count_at(spec, FILMS) for spec in ways)
    inside, outside = (min(count, side.size) for side in (members, strangers))
    if min(inside, outside) < FEWEST:
        return Hidden(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.TOO_FEW_REFERENCE))

    def evidence(spec: PreprocessSpec) -> Floats:
        images = torch.cat([side.at(spec, count) for side in (members, strangers)])
        return explained_by(target, images, spec, pace).evidence

    is_member = np.arange(inside + outside) < inside
    under = evidence(used)
    gains = {spec: auc_gain(evidence(spec), under, is_member, deviations=DEVIATIONS).low for spec in rivals}
    best = max(gains, key=gains.__getitem__, default=used)
    value = max(0.0, gains.get(best, 0.0)) / HIDDEN
    return Hidden(Measured(metric=Metric.PREPROCESS_FIT, value=value, n=inside + outside), best)
