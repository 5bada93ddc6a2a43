"""Does the network answer the labels that are said to be those of its training?

    p = (1 + #{shuffles: mean p(label) >= that of the labels given}) / (1 + shuffles),    over training films

The permutation test of Ojala and Garriga (Permutation Tests for Studying Classifier Performance, JMLR 2010). Labels of
another column, or of other rows, are answered no better than by chance. Reference models taught them, and the loss
under them, say nothing of the network, and planted patients, who are taught them too, are found all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.network.answer_fit import answer_errors
from reid_audit.network.heads import HeadKind
from reid_audit.score.calibration import Bools, exceedance_p

DRAWS, LEVEL = 199, 0.01
FEWEST = 24
"""Training films below which shuffled labels are too often the same."""


def answered(
    kind: HeadKind, outputs: Tensor, labels: NDArray[np.str_], is_member: Bools, rng: np.random.Generator
) -> bool:
    """Whether the training films' ``labels`` [N] are answered by ``outputs`` [N, K] better than shuffled ones; True
    where they are too few to say, or cannot be compared.

    It knows who is a member, so that it may withhold a PASS and decide nothing else.
    """
    rows = np.flatnonzero(is_member)
    if rows.size < FEWEST:
        return True
    own, words = outputs[rows], labels[rows]
    errors = answer_errors(kind, own, words)
    if errors is None:
        return True
    shuffled = (answer_errors(kind, own, rng.permutation(words)) for _ in range(DRAWS))
    null = np.array([-np.inf if each is None else -float(each.mean()) for each in shuffled])
    return exceedance_p(-float(errors.mean()), null) <= LEVEL
