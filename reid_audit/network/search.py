"""Ways from films to network input that were tried, and how well the first statistics layer fits each.

For a geometry (part, side, resize, crop, interpolation, scaling) the grey values' mean, deviation and inversion are
fitted by least squares (values.py) to what the first statistics layer stores; the misfit is what that leaves. Filters
of the first layer answer to the fineness of what they see, so a wrong side or filter leaves a misfit that no choice of
values removes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.imaging.augmentation import Augmentation, augmented
from reid_audit.memory import out_of_memory
from reid_audit.network.geometries import at_side, bare, changed
from reid_audit.network.joint_fit import values_from
from reid_audit.network.stem import read_stems
from reid_audit.network.values import EITHER, FittedValues, Inverts, fit_values, with_values
from reid_audit.observer import StageAdvanced
from reid_audit.preprocess import prepared
from reid_audit.records import PerFilm, PreprocessSpec, Scaling, Turn

STAGE = "preprocessing"
"""Name of the search, for whoever watches."""
FilmsAt = Callable[[PreprocessSpec, int], Tensor]
"""At most so many of the same films, rendered under a specification: [N, C, side, side] in [0, 1] on the CPU."""

MANY, FEW, FEWEST = 256, 64, 16
"""Films for the last estimate, for the search, and the least at large sides."""
PIXELS = 2**22
"""Pixels of all films of one estimate."""
ALL = 512
"""Films that are drawn at most: the fits that tell which films are remembered need those among them."""
LARGEST, ROOM = 1024, 2.5
"""The largest side of all, and how many times the side a film's edge has to be: a filter that reduces by so much hardly
shows whether what it is given was reduced before."""
CLEARLY = 0.8
"""Another geometry is preferred where it leaves less than this share of the misfit."""
SEED = 0
"""Of the augmentations' random numbers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way from films to network input, and how far the first statistics layer is from what films give it so."""

    spec: PreprocessSpec
    misfit: float
    augmentation: Augmentation = "none"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the statistics say of the preprocessing."""

    best: PreprocessSpec
    """Side, geometry and values that explain the statistics best."""
    candidates: tuple[Candidate, ...]
    """Every geometry that was tried with its best values, best first."""
    augmentation: Augmentation
    """What the films are thought to have gone through in training."""
    films: int
    """Films the last estimate was made on."""
    complete: bool = True
    """Whether there was time for everything that is tried."""


@dataclass(frozen=True, slots=True)
class Ways:
    """From stored films to pictures: what the films at hand allow."""

    scalings: tuple[Scaling | None, ...] = (None,)
    """From stored values to [0, 1]. Of ways that differ by one factor and summand for all films, one."""
    turns: tuple[Turn, ...] = ("none",)
    inverts: Inverts = EITHER
    per_film: tuple[PerFilm, ...] = ("none",)
    late: tuple[Scaling, ...] = ()
    """Scalings of each film for itself that are tried where the others do not explain the statistics."""

    def one_by_one(self) -> list[PreprocessSpec]:
        """What may be done to each film by itself, where ``scalings`` do not explain the statistics."""
        alone = [PreprocessSpec(scaling=self.scalings[0], per_film=way) for way in self.per_film if way != "none"]
        return [*alone, *(PreprocessSpec(scaling=scaling) for scaling in self.late)]


PLAIN = Ways()


class NoStem(Exception):
    """The first statistics layer cannot be asked."""


@dataclass(slots=True)
class Search:
    """Geometries tried so far."""

    target: Target
    films_at: FilmsAt
    pace: Pace
    stage: str
    ways: Ways = PLAIN
    tried: dict[tuple[PreprocessSpec, Augmentation], FittedValues] = field(default_factory=dict)
    taken: dict[int, bool] = field(default_factory=dict)
    """Whether the network takes pictures of a side: not every one takes all."""
    done: int = 0
    """Geometries, and joint fits, so far."""

    def misfit(self, geometry: PreprocessSpec, augmentation: Augmentation = "none") -> float:
        """Of the geometry with its best values; infinite where the network does not take such pictures.

        Raises OutOfTime where no time is left to try it.
        """
        if not self._takes(geometry.side or 0):
            return math.inf
        key = (geometry, augmentation)
        if key not in self.tried:
            self.pace.check(self.stage)
            films = as_trained(self.films_at, geometry, augmentation, count_at(geometry, FEW))
            stems = read_stems(self.target, prepared(films, geometry), self.pace)
            if stems is None:
                raise NoStem
            stem = stems.averaged()
            self.tried[key] = min((fit_values(stem, invert=i) for i in self.ways.inverts), key=lambda fit: fit.misfit)
            self.advanced()
        return self.tried[key].misfit

    def values(self, geometry: PreprocessSpec, images: Tensor) -> PreprocessSpec:
        """``geometry`` with the values that explain the statistics best (``best_values``). Raises OutOfTime."""
        return best_values(self.target, geometry, images, self.pace, self.ways.inverts)

    def unlike(self, here: PreprocessSpec, ways: Iterable[PreprocessSpec], limit: float) -> list[PreprocessSpec]:
        """Those of ``ways`` with a misfit up to ``limit`` that show the films otherwise than ``here``, and than each
        other: of square films many framings are one, and their misfits are equal. Raises OutOfTime."""
        found = {self.misfit(here): here}
        for way in ways:
            if self.misfit(way) <= limit:
                found.setdefault(self.misfit(way), way)
        return list(found.values())[1:]

    def _takes(self, side: int) -> bool:
        if side not in self.taken:
            device, channels = next(self.target.module.parameters()).device, self.target.match.channels
            try:
                with torch.no_grad():
                    self.target.module(torch.zeros(1, channels, side, side, device=device))
                self.taken[side] = True
            except RuntimeError as error:
                if out_of_memory(error):
                    raise
                self.taken[side] = False
        return self.taken[side]

    def advanced(self) -> None:
        """Tell whoever watches of one more step."""
        self.done += 1
        self.pace.observer.notice(StageAdvanced(self.stage, self.done))

    def better(self, current: PreprocessSpec, others: Sequence[PreprocessSpec]) -> PreprocessSpec:
        """The best of ``others`` where it is clearly better than ``current``, else that."""
        best = min(others, key=self.misfit, default=current)
        return best if self.misfit(best) < CLEARLY * self.misfit(current) else current

    def candidates(self) -> tuple[Candidate, ...]:
        """Everything tried with its best values, best first."""
        found = [Candidate(with_values(tried, fit.spec), fit.misfit, kind) for (tried, kind), fit in self.tried.items()]
        return tuple(sorted(found, key=lambda candidate: candidate.misfit))


def distinct(found: Iterable[Candidate]) -> list[Candidate]:
    """The best of those that differ in more than the interpolation, and in what they show of the films."""
    framed: dict[PreprocessSpec, Candidate] = {}
    for each in found:
        framed.setdefault(changed(bare(each.spec), interpolation="bilinear"), each)
    shown: dict[float, Candidate] = {}
    for each in framed.values():
        shown.setdefault(each.misfit, each)
    return list(shown.values())


def as_trained(films_at: FilmsAt, geometry: PreprocessSpec, augmentation: Augmentation, count: int) -> Tensor:
    """At most ``count`` films [N, C, side, side] as training would have fed them. Crops are taken at twice the side."""
    side = geometry.side or 0
    if augmentation == "none":
        return films_at(geometry, count)
    generator = torch.Generator().manual_seed(SEED)
    if augmentation == "moved":
        return augmented(films_at(geometry, count), augmentation, side, generator)
    return augmented(films_at(at_side(geometry, 2 * side), count), augmentation, side, generator)


def best_values(
    target: Target,
    geometry: PreprocessSpec,
    images: Tensor,
    pace: Pace | None = None,
    inverts: Inverts = EITHER,
) -> PreprocessSpec:
    """``geometry`` with the values that explain the first statistics layer best for images [N, C, S, S] in [0, 1].

    The first layer hardly tells a film from its inversion; the layers behind it decide, among ``inverts``. Raises
    ValueError where the first layer cannot be asked, OutOfTime where the pace ends first.
    """
    stems = read_stems(target, prepared(images, geometry), pace)
    if stems is None:
        raise ValueError("the first statistics layer is not an affine function of the input")
    return values_from(target, geometry, images, stems, pace, inverts)


def count_at(geometry: PreprocessSpec, most: int) -> int:
    """Films that are rendered at this side."""
    pixels = PIXELS * most // MANY
    return max(FEWEST, min(most, pixels // (geometry.side or 224) ** 2))


def edge_needed(place: int) -> int:
    """Pixels that the shorter edge of the film at this place of the draw needs, to be rendered as the full film is.

    The later a film comes, the smaller the largest side that it is rendered at (``count_at``).
    """
    largest = LARGEST if place < FEWEST else min(LARGEST, math.isqrt(PIXELS * ALL // MANY // (place + 1)))
    return math.ceil(ROOM * largest)
