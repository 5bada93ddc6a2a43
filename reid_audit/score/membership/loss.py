"""Loss: what an image costs the network under the label it was trained with.

    loss(x, y) = -log softmax(z(x))_y        classes, and yes or no
    loss(x, y) = (z(x) - y)^2 / 2            numbers,    score = -loss

Membership inference by the training loss (Yeom et al., CSF 2018): a network loses less on the images it was trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reid_audit.network.answers import asked_as, log_odds, taught_answers
from reid_audit.network.heads import HeadKind


def losses(kind: HeadKind, logits: Tensor, labels: NDArray[np.str_]) -> Tensor | None:
    """[N] loss of each image under its training label; None where that cannot be said.

    logits [N, K] are the network's outputs; labels [N] the manifest's words, read as ``taught_answers`` does.
    """
    if kind not in ("softmax", "sigmoid", "regression"):
        return None
    wanted = taught_answers(kind, logits, labels)
    if wanted is None:
        return None
    if asked_as(kind, logits) == "regression":
        return 0.5 * (logits - wanted).square().flatten(1).mean(1)
    return functional.softplus(-log_odds(kind, logits, wanted))
