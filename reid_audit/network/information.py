"""Information: how much a network's answers tell films apart, which they do most in the frame of its training.

    I = H(mean_i p(x_i)) - mean_i H(p(x_i))          p(x_i) the answers to film i, H the entropy

It is large where a network is sure of every film and does not say the same of all (Bridle, Heading and MacKay,
Unsupervised classifiers, mutual information and "phantom targets", NIPS 1991). Under a wrong side or crop the features
that a network learned are not there, and most of its answers become one. Nothing here knows a label, or who is a
member.

The statistics of a network that learned hundreds of films in minibatches are those of its last batches and of no set of
films; several geometries then explain them alike, and the answers decide between those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.special import entr

from reid_audit.arch.target import Target
from reid_audit.network.answers import asked_as
from reid_audit.network.geometries import framings, interpolations, neighbours
from reid_audit.network.heads import HeadKind, independent
from reid_audit.records import PreprocessSpec

PLAUSIBLE, SMALL = 2.0, 0.01
"""Geometries are asked up to this many times the misfit that the statistics have under the one they prefer, and
whatever that is up to an error of a tenth in the scale: of a network trained with care another side can fit best."""
MOST = 16
"""Of them, the likeliest."""
GAIN = 0.05
"""Nats that another geometry must add to be preferred to the one that the statistics prefer."""
DRAWS, LEVEL = 200, 0.05
"""Bootstrap draws of the films, and the share of them in which the other geometry may add nothing."""


def information(kind: HeadKind, logits: Tensor) -> float | None:
    """Nats that answers [N, K] share with the films; None of a network that gives neither classes nor findings.

    Of independent yes/no answers it is the sum over the K of them.
    """
    if kind in ("features", "regression", "segmentation"):
        return None
    if asked_as(kind, logits) == "softmax" and not independent(logits):
        chances = logits.double().softmax(1)
        return float(entr(chances.mean(0)).sum() - entr(chances).sum(1).mean())
    yes = logits.double().sigmoid()
    return float(sum((entr(p.mean(0)) - entr(p).mean(0)).sum() for p in (yes, 1.0 - yes)))


def surely_less(kind: HeadKind, ours: Tensor, theirs: Tensor) -> bool:
    """Whether answers [N, K] under one geometry tell less than ``theirs`` [M, K] of the same films, in a bootstrap over
    those that both were asked about."""
    count = min(len(ours), len(theirs))
    generator = torch.Generator().manual_seed(0)
    draws = (torch.randint(count, (count,), generator=generator) for _ in range(DRAWS))
    gains = [(information(kind, theirs[rows]) or 0.0) - (information(kind, ours[rows]) or 0.0) for rows in draws]
    return sum(gain <= 0.0 for gain in gains) <= LEVEL * DRAWS


@dataclass(slots=True)
class Informed:
    """A search for the geometry whose answers tell most, among those that the statistics allow."""

    asked: Callable[[PreprocessSpec], Tensor | None]
    """Outputs [N, K] under a geometry with the values that fit it; None where it gives none."""
    misfit: Callable[[PreprocessSpec], float]
    """Of the statistics under a geometry."""
    target: Target
    free: bool
    """Whether the side is open."""
    known: dict[PreprocessSpec, Tensor | None] = field(default_factory=dict)

    def best(self, start: PreprocessSpec, tried: Sequence[PreprocessSpec]) -> PreprocessSpec | None:
        """The geometry among ``tried``, likeliest first, and those around the best of them whose answers tell clearly
        more than those under ``start``; None where none does. Raises whatever ends ``asked``."""
        limit = max(SMALL, PLAUSIBLE * self.misfit(start))
        plausible = [way for way in tried if self.misfit(way) <= limit][:MOST]
        here = self._most((start, *plausible))
        while here != (moved := self._most((here, *self._around(here, limit)))):
            here = moved
        ours, theirs = self._outputs(start), self._outputs(here)
        if ours is None or theirs is None or self.nats(here) <= self.nats(start) + GAIN:
            return None
        return here if surely_less(self.target.match.head, ours, theirs) else None

    def nats(self, geometry: PreprocessSpec) -> float:
        """What the answers under ``geometry`` tell; 0 where there are none."""
        outputs = self._outputs(geometry)
        return 0.0 if outputs is None else information(self.target.match.head, outputs) or 0.0

    def _outputs(self, geometry: PreprocessSpec) -> Tensor | None:
        if geometry not in self.known:
            found = self.asked(geometry)
            self.known[geometry] = None if found is None else found.cpu()
        return self.known[geometry]

    def _most(self, ways: Iterable[PreprocessSpec]) -> PreprocessSpec:
        return max(ways, key=self.nats)

    def _around(self, here: PreprocessSpec, limit: float) -> list[PreprocessSpec]:
        ways = [*framings(here), *interpolations(here), *(neighbours(here) if self.free else ())]
        return [way for way in ways if self.misfit(way) <= limit]
