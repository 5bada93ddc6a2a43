"""Does the network know the hold-out better than the films that are said to be those of its training?

    p = families * min over families of P(training patients score as low beside hold-out patients)

Under films of one kind a network that learned neither cohort, or the training films, scores so with that chance (Mann
and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", 1947). Where it
is tiny the cohorts are exchanged, or the hold-out holds films of the training, and a score that is low for training
patients clears nobody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

CHANCE = 0.001
"""The p up to which it is not put down to chance: one in a thousand audits of a network that remembers nobody."""


def knows_the_others(scores: NDArray[np.float64], is_member: NDArray[np.bool_]) -> bool:
    """Whether any family of ``scores`` [F, P], larger is more member-like, is lower for training patients than chance
    gives. It knows who is a member, so that it may withhold a PASS and decide nothing else."""
    lower = [mannwhitneyu(row[is_member], row[~is_member], alternative="less").pvalue for row in scores]
    return bool(len(lower) * min(lower) <= CHANCE)
