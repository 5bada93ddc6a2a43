"""Utility: how well a network answers films that it was not trained on, and how much that changed.

Accuracy, area under the ROC curve and mean training loss over hold-out films, with bootstrap intervals over patients; a
change is drawn from the same patients for both networks, so that what makes a film hard for both networks cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reid_audit.network.answers import asked_as, right
from reid_audit.network.heads import HeadKind
from reid_audit.score.calibration import Floats, auc

DRAWS = 1000
UtilityName = Literal["accuracy", "auc", "loss", "error"]
HIGHER: dict[UtilityName, bool] = {"accuracy": True, "auc": True, "loss": False, "error": False}
"""Whether more is better."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network answers N films, what it should, and whose they are."""

    kind: HeadKind
    outputs: Tensor
    """[N, K]"""
    wanted: Tensor
    """[N, *] as ``network.answers`` teaches them."""
    patients: NDArray[np.str_]
    """[N]"""


@dataclass(frozen=True, slots=True)
class Utility:
    """One figure with its 95 % interval."""

    name: UtilityName
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class UtilityChange:
    """One figure of two networks on the same films, and its change with the 95 % interval of the change."""

    before: Utility
    after: Utility
    change: float
    low: float
    high: float


def utility(answers: Answers, rng: np.random.Generator) -> tuple[Utility, ...]:
    """Every figure that the head has."""
    weights = _draws(answers.patients, rng)
    return tuple(_with_interval(name, found, _each(found, weights)) for name, found in _figures(answers).items())


def changes(before: Answers, after: Answers, rng: np.random.Generator) -> tuple[UtilityChange, ...]:
    """Every figure that both heads have, before and after, over the same draws of patients."""
    weights = _draws(before.patients, rng)
    one, two = _figures(before), _figures(after)
    found = []
    for name in one:
        if name not in two:
            continue
        drawn = _each(one[name], weights), _each(two[name], weights)
        was, now = (_with_interval(name, f, d) for f, d in zip((one[name], two[name]), drawn, strict=True))
        low, high = np.nanquantile(drawn[1] - drawn[0], (0.025, 0.975))
        found.append(UtilityChange(was, now, now.value - was.value, float(low), float(high)))
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Figure:
    """Values of films [N] whose weighted mean is the figure, or scores of two classes whose ranks are."""

    values: Floats
    positive: NDArray[np.bool_] | None = None

    def at(self, weights: NDArray[np.int64]) -> float:
        if self.positive is None:
            return float(weights @ self.values / weights.sum())
        rows = np.repeat(np.arange(weights.size), weights)
        scores, positive = self.values[rows], self.positive[rows]
        return auc(scores[positive], scores[~positive]) if 0 < positive.sum() < positive.size else float("nan")


def _figures(answers: Answers) -> dict[UtilityName, _Figure]:
    kind, outputs = asked_as(answers.kind, answers.outputs), answers.outputs.double().cpu()
    wanted = answers.wanted.cpu()
    hits = right(kind, outputs, wanted).double().numpy()
    if kind == "regression":
        return {"error": _Figure(-hits)}
    found: dict[UtilityName, _Figure] = {"accuracy": _Figure(hits)}
    if kind == "softmax":
        if outputs.shape[1] == 2:
            found["auc"] = _Figure((outputs[:, 1] - outputs[:, 0]).numpy(), (wanted == 1).numpy())
        lost = functional.cross_entropy(outputs, wanted.long(), reduction="none")
    else:
        if outputs.shape[1] == 1:
            found["auc"] = _Figure(outputs[:, 0].numpy(), (wanted[:, 0] > 0.5).numpy())
        pair = functional.binary_cross_entropy_with_logits(outputs, wanted.double(), reduction="none")
        lost = pair.flatten(1).mean(1)
    return found | {"loss": _Figure(lost.numpy())}


def _draws(patients: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """[DRAWS + 1, N] how often each film counts: once in the first, by drawn patients in all others."""
    _, owner = np.unique(patients, return_inverse=True)
    people = int(owner.max()) + 1
    drawn = rng.multinomial(people, np.full(people, 1.0 / people), DRAWS)[:, owner.reshape(-1)]
    return np.asarray(np.concatenate([np.ones((1, owner.size), dtype=np.int64), drawn]))


def _each(figure: _Figure, weights: NDArray[np.int64]) -> Floats:
    return np.array([figure.at(row) for row in weights])


def _with_interval(name: UtilityName, figure: _Figure, drawn: Floats) -> Utility:
    low, high = np.nanquantile(drawn[1:], (0.025, 0.975))
    return Utility(name, float(drawn[0]), float(low), float(high))
