"""Loss: the cross entropy of an image under the label it was trained with.

    loss(x, y) = -log softmax(z(x))_y,    score = -loss

Membership inference by the training loss (Yeom et al., CSF 2018): a network loses less on the images it was trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from reid_audit.network.heads import HeadKind


def losses(kind: HeadKind, logits: Tensor, labels: NDArray[np.str_]) -> Tensor | None:
    """[N] cross entropy of each image under its training label; None where that cannot be said.

    logits [N, K] are the network's outputs; labels [N] the manifest's words. Which word means which output is
    not in the file: the assignment under which the images given are decided best is taken, whoever of them was in
    training. None where a label is missing, there are more words than outputs, or several outputs may be true at once.
    """
    if kind not in ("softmax", "sigmoid"):
        return None
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    elif kind == "sigmoid":
        return None
    words, numbers = np.unique(labels, return_inverse=True)
    if "" in words or not 1 < words.size <= logits.shape[1]:
        return None
    numbered = torch.from_numpy(numbers.reshape(-1)).to(logits.device)
    chances = logits.log_softmax(1)
    gains = torch.stack([chances[numbered == number].sum(0) for number in range(words.size)])
    _, classes = linear_sum_assignment(gains.double().cpu().numpy(), maximize=True)
    return -chances[torch.arange(len(numbered)), torch.from_numpy(classes).to(numbered.device)[numbered]]
