"""What the weights say of given films: the raw score families behind exposure, larger is more member-like."""

from __future__ import annotations

import torch
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
    with torch.no_grad():
        logits = torch.cat([logits_of(target.module(part)) for part in torch.split(inputs, BATCH)])
    return certainty(target.match.head, logits)
