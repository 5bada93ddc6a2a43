"""Stationarity: how much an image's gradient has to do with the classifier's weights.

    W  ~  sum_i w_i r_i h_i^T,  w_i >= 0,    r_i = y_i - p_i,    score = w_i, or how far image i is from entering

At a weight-decayed optimum the head is its own gradient (Karush-Kuhn-Tucker conditions; Haim et al., NeurIPS 2022).
h_i are the features before the head, p_i the network's answers and y_i its own decision, so no label is needed.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from reid_audit.budget import Pace
from reid_audit.network.explanation import NormalEquations, explain_direction
from reid_audit.network.heads import HeadKind, HeadLayer, decisions, meaning, residual, rows
from reid_audit.score.calibration import Floats


def stationarity(
    kind: HeadKind, head: HeadLayer, features: Tensor, logits: Tensor, pace: Pace | None = None
) -> Floats | None:
    """[N] evidence that each image's gradient is part of the classifier; None for a regression.

    features [N, D] before the head, logits [N, K] behind it. There y - z is zero at the network's own answer.
    """
    if kind == "regression":
        return None
    return explain_direction(head_equations(kind, head, features, logits), pace=pace)


def head_equations(kind: HeadKind, head: HeadLayer, features: Tensor, logits: Tensor) -> NormalEquations:
    """Products of the images' unit gradients r h^T with each other and with the classifier of unit length.

    r h^T and r' h'^T have the product (r . r') (h . h'): the N gradients of K D values each are never written out.
    """
    kind = meaning(kind, len(head.weight))
    own = residual(kind, logits, decisions(kind, logits))
    errors, seen = (functional.normalize(part.double(), dim=1).cpu().numpy() for part in (own, features))
    goal = functional.normalize(rows(kind, head).detach().double().flatten(), dim=0).reshape(len(head.weight), -1)
    linear = ((errors @ goal.cpu().numpy()) * seen).sum(axis=1)
    return NormalEquations((errors @ errors.T) * (seen @ seen.T), linear, 1.0)
