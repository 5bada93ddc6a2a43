"""Are the films that are said to be those of its training strange to the network?

    excess = mean over training patients of (errors - 2 expected errors),    expected: 1 - p(own answer)

Training makes a network right about the films it learned about as often as it is sure of them. One that knew other
films by heart is as sure of these and errs many times more often than that (Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017). Then these are not its training films, or not their labels, and nothing that compares them
with a hold-out can show what it remembers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.network.answers import asked_as, right, taught_answers
from reid_audit.network.heads import HeadKind
from reid_audit.score.calibration import ONE_SIDED
from reid_audit.score.patients import Owners, mean_by_patient

TIMES, ALLOWED = 2.0, 0.03
"""Errors per expected error, and errors beyond that, that stay without a word. Training films are answered wrongly less
often than the network expects; classes weighed in training, or a few wrong labels, make that up to twice as often."""
FEWEST = 24
"""Patients below which nothing is said."""


def overconfident(kind: HeadKind, outputs: Tensor, labels: NDArray[np.str_], owners: Owners) -> bool:
    """Whether ``outputs`` [N, K] err on the training films' ``labels`` [N] far more often than they expect: the lower
    end of a one-sided 95 % interval over patients. False where they are too few or cannot be compared.

    It knows who is a member, so that it may withhold a PASS and decide nothing else.
    """
    rows = np.flatnonzero(owners.is_member)
    own, asked = outputs[rows], asked_as(kind, outputs)
    wanted = None if asked == "regression" else taught_answers(kind, own, labels[rows])
    if wanted is None:
        return False
    chances = own.softmax(1) if asked == "softmax" else own.sigmoid()
    expected = 1.0 - chances.amax(1) if asked == "softmax" else chances.minimum(1.0 - chances).mean(1)
    excess = (1.0 - right(kind, own, wanted) - TIMES * expected).double().cpu().numpy()
    means = mean_by_patient(excess, owners.at(rows), members=True)
    if means.size < FEWEST:
        return False
    return bool(means.mean() - ONE_SIDED * means.std() / np.sqrt(means.size) > ALLOWED)
