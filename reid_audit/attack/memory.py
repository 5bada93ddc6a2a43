"""What the weights say of given films: the raw score families behind exposure, larger is more member-like."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.attack.batchnorm import ImageMoments, batched_moments, statistics_layers
from reid_audit.attack.heads import certainty, decisions, logits_of, meaning, residual, rows
from reid_audit.attack.objectives import classifier, features_and_logits

BATCH = 64


def film_moments(target: Target, inputs: Tensor, *, trained_with: int | None = None) -> list[ImageMoments]:
    """Moments of every film at every statistics layer; empty for networks without BatchNorm.

    ``trained_with``: batch size the training is thought to have used, for the correction of the forward pass.
    """
    if not statistics_layers(target.module):
        return []
    return batched_moments(target.module, inputs, batch=BATCH, trained_with=trained_with)


def head_directions(target: Target, inputs: Tensor) -> tuple[Tensor, Tensor] | None:
    """Unit rows [N, K D] of what each film adds to the classifier's gradient, and the classifier itself [K D].

    At a weight-decayed optimum the head is proportional to sum_i (y_i - p_i) h_i^T (KKT conditions; Haim et al. 2022);
    y is the network's own decision. None where there is no linear head with residuals: for a regression y - z is zero
    at the network's own answer.
    """
    head = classifier(target)
    if head is None or target.match.head == "regression":
        return None
    kind = meaning(target.match.head, head.out_features)
    found = []
    with torch.no_grad():
        for part in torch.split(inputs, BATCH):
            features, logits = features_and_logits(target.module, part, head)
            own = residual(kind, logits, decisions(kind, logits))
            found.append(functional.normalize((own[:, :, None] * features[:, None, :]).flatten(1), dim=1))
    return torch.cat(found), rows(kind, head).flatten()


def margins(target: Target, inputs: Tensor) -> Tensor | None:
    """[N] certainty of the network about each film; None where its outputs are numbers, not answers.

    Label-free membership score (Salem et al. 2019): training films are decided more firmly.
    """
    return certainty(target.match.head, outputs(target, inputs))


def losses(target: Target, inputs: Tensor, labels: NDArray[np.str_]) -> Tensor | None:
    """[N] cross entropy of each film under its training label (Yeom et al. 2018); None where that cannot be said.

    labels [N] are the manifest's words. Which word means which output is not in the file: the assignment under which
    the films given are decided best is taken, whoever of them was in training. None where a label is missing,
    there are more words than outputs, or several outputs may be true at once.
    """
    if target.match.head not in ("softmax", "sigmoid"):
        return None
    logits = outputs(target, inputs)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    elif target.match.head == "sigmoid":
        return None
    words, numbers = np.unique(labels, return_inverse=True)
    if "" in words or not 1 < words.size <= logits.shape[1]:
        return None
    told = torch.from_numpy(numbers.reshape(-1)).to(logits.device)
    chances = logits.log_softmax(1)
    gains = torch.stack([chances[told == number].sum(0) for number in range(words.size)])
    _, classes = linear_sum_assignment(gains.double().cpu().numpy(), maximize=True)
    return -chances[torch.arange(len(told)), torch.from_numpy(classes).to(told.device)[told]]


def outputs(target: Target, inputs: Tensor) -> Tensor:
    """[N, K] logits."""
    with torch.no_grad():
        return torch.cat([logits_of(target.module(part)) for part in torch.split(inputs, BATCH)])
