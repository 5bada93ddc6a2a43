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
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.special import entr

from reid_audit.budget import OutOfTime
from reid_audit.network.answers import asked_as
from reid_audit.network.geometries import (
    FINER,
    USUAL,
    at_side,
    framings,
    interpolations,
    neighbours,
    parts,
    per_film,
    turns,
)
from reid_audit.network.heads import HeadKind, independent
from reid_audit.network.search import Search
from reid_audit.records import PreprocessSpec

PLAUSIBLE, SMALL = 2.0, 0.01
"""Geometries are asked up to this many times the misfit that the statistics have under the one they prefer, and
whatever that is up to an error of a tenth in the scale: of a network trained with care another side can fit best."""
MOST = 16
"""Of them, the likeliest."""
ALIKE = 1.25
"""Up to this many times the misfit, every usual side is asked as well: statistics may fit all sides alike."""
GAIN = 0.02
"""Nats that another geometry must add to be preferred to the one that the statistics prefer."""
FILMS, MORE, EVERY = 128, 256, 512
"""Films whose answers tell geometries apart at first, parts of the films by small steps, and all that are asked in the
end: of hundreds of steps some look better on the films that chose them, and only others can tell."""
FRESH = 64
"""Films that chose no step below which all of them are asked in the end."""
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

    asked: Callable[[PreprocessSpec, int], Tensor | None]
    """Outputs [at most so many films, K] under a geometry with the values that fit it; None where it gives none."""
    search: Search
    """The misfits of the statistics."""
    start: PreprocessSpec
    """What the statistics prefer."""
    free: bool
    """Whether the side is open."""
    cut: bool = True
    """Whether parts of the films are searched."""
    here: PreprocessSpec = field(init=False)
    """The best so far, whether or not it tells clearly more."""
    whole: PreprocessSpec = field(init=False)
    """The best so far of whole films."""
    films: int = FILMS
    """That are asked."""
    known: dict[tuple[PreprocessSpec, int], Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.here = self.whole = self.start

    def climb(self, tried: Sequence[PreprocessSpec]) -> None:
        """Go to the best of ``tried``, likeliest first, and on from there: in one respect after the other, and once a
        part of the films is preferred to the whole of them, in smaller steps and with more films. Raises whatever ends
        ``asked``; what was found until then stays."""
        self._move(self._allowed(tried)[:MOST])
        if self.free:
            self._move(self._allowed(self._alike()))
        side, part = (neighbours,) if self.free else (), (parts,) if self.cut else ()
        respects = (*side, self._turned, self._standardised, *part, framings, interpolations)
        before = None
        while before != self.here:
            before = self.here
            for others in respects:
                self._uphill(others)
        if self.here.keep is not None:
            self.films = MORE
            for step in FINER:
                while any(self._move([way]) for way in self._allowed(parts(self.here, step))):
                    pass

    def _alike(self) -> list[PreprocessSpec]:
        """The start at every usual side that the statistics fit nearly as well."""
        limit = ALIKE * self.search.misfit(self.start)
        return [way for side in USUAL if self.search.misfit(way := at_side(self.start, side)) <= limit]

    def found(self) -> PreprocessSpec | None:
        """The geometry that was found where its answers tell clearly more than those under ``start``: by ``GAIN``, or
        by anything where the statistics prefer it too, and in a bootstrap over the films; else None.

        A part of the films is found only where its answers surely tell more than those for whole films, or tell more
        and the statistics prefer it too: of the many parts that are tried some always tell more of the films that chose
        them.
        """
        found = self.here
        if found.keep is not None and not self._surely(self.whole, found) and not self._rather(self.whole, found):
            found = self.whole
        least = 0.0 if self.search.misfit(found) < self.search.misfit(self.start) else GAIN
        if found == self.start or self.nats(found) <= self.nats(self.start) + least:
            return None
        return found if self._surely(self.start, found) else None

    def _surely(self, ours: PreprocessSpec, theirs: PreprocessSpec) -> bool:
        """Whether answers under ``ours`` surely tell less, asked of films that chose no step where there are enough."""
        less, more = self._fresh(ours, theirs)
        return less is not None and more is not None and surely_less(self.search.target.match.head, less, more)

    def _rather(self, ours: PreprocessSpec, theirs: PreprocessSpec) -> bool:
        """Whether the first layer fits ``theirs`` better, and their answers tell more of the same films."""
        if self.search.misfit(theirs) >= self.search.misfit(ours):
            return False
        less, more = (None if found is None else self._nats_of(found) for found in self._fresh(ours, theirs))
        return less is not None and more is not None and more > less

    def _fresh(self, ours: PreprocessSpec, theirs: PreprocessSpec) -> tuple[Tensor | None, Tensor | None]:
        """Outputs under both for the films that chose no step, of all where those are few."""
        less, more = self._every(ours), self._every(theirs)
        if less is None or more is None:
            return None, None
        count = min(len(less), len(more))
        chose = self.films if count >= self.films + FRESH else 0
        return less[chose:count], more[chose:count]

    def nats(self, geometry: PreprocessSpec) -> float:
        """What the answers under ``geometry`` tell; 0 where there are none."""
        outputs = self._outputs(geometry)
        return 0.0 if outputs is None else self._nats_of(outputs) or 0.0

    def _nats_of(self, outputs: Tensor) -> float | None:
        return information(self.search.target.match.head, outputs)

    def _every(self, geometry: PreprocessSpec) -> Tensor | None:
        """Outputs for all films, or where there is no time for them for those that chose."""
        with suppress(OutOfTime):
            return self._outputs(geometry, EVERY)
        return self._outputs(geometry)

    def _outputs(self, geometry: PreprocessSpec, films: int | None = None) -> Tensor | None:
        key = (geometry, films or self.films)
        if key not in self.known:
            found = self.asked(*key)
            self.known[key] = None if found is None else found.cpu()
        return self.known[key]

    def _turned(self, geometry: PreprocessSpec) -> list[PreprocessSpec]:
        return turns(geometry, self.search.ways.turns)

    def _standardised(self, geometry: PreprocessSpec) -> list[PreprocessSpec]:
        return per_film(geometry, self.search.ways.per_film)

    def _allowed(self, ways: Iterable[PreprocessSpec]) -> list[PreprocessSpec]:
        limit = max(SMALL, PLAUSIBLE * self.search.misfit(self.start))
        return self.search.unlike(self.here, ways, limit)

    def _uphill(self, others: Callable[[PreprocessSpec], list[PreprocessSpec]]) -> None:
        while self._move(self._allowed(others(self.here))):
            pass

    def _move(self, ways: Iterable[PreprocessSpec]) -> bool:
        """Go to the best of ``ways`` where it tells more, and say whether it did."""
        before = self.here
        for way in ways:
            if self.nats(way) > self.nats(self.here):
                self.here = way
                self.whole = way if way.keep is None else self.whole
        return self.here != before
