"""Stationarity: how much an image's gradient has to do with the classifier's weights.

    W  ~  sum_i w_i r_i h_i^T,  w_i >= 0,    r_i = y_i - p_i,    score = w_i, or how far image i is from entering

At a weight-decayed optimum the head is its own gradient (Karush-Kuhn-Tucker conditions; Haim et al., NeurIPS 2022).
h_i are the features before the head, p_i the network's answers and y_i its own decision, so no label is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.network.heads import classifier, decisions, features_and_logits, meaning, residual, rows
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.explanation import NormalEquations, explain_direction


def stationarity(target: Target, inputs: Tensor) -> Floats | None:
    """[N] evidence that each image's gradient is part of the classifier; None where ``head_directions`` is None."""
    directions = head_directions(target, inputs)
    if directions is None:
        return None
    images, goal = (part.double().cpu().numpy() for part in directions)
    return explain_direction(NormalEquations.of_directions(images, goal))


def head_directions(target: Target, inputs: Tensor) -> tuple[Tensor, Tensor] | None:
    """Unit rows [N, K D] of what each image adds to the classifier's gradient, and the classifier itself [K D].

    inputs [N, C, H, W] as the network sees them. None where there is no linear head with residuals: for a regression
    y - z is zero at the network's own answer.
    """
    head = classifier(target)
    if head is None or target.match.head == "regression":
        return None
    kind = meaning(target.match.head, head.out_features)
    found = []
    with torch.no_grad():
        for part in torch.split(inputs, 64):
            features, logits = features_and_logits(target.module, part, head)
            own = residual(kind, logits, decisions(kind, logits))
            found.append(functional.normalize((own[:, :, None] * features[:, None, :]).flatten(1), dim=1))
    return torch.cat(found), rows(kind, head).flatten()
