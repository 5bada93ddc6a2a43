"""How films became network input in training, asked of the first statistics layers: geometry searched, values fitted.

For every candidate geometry (side, resize, crop, interpolation, scaling) the grey values' mean, deviation and
inversion are fitted by least squares (values.py) to what the first statistics layer stores; the geometry that leaves
least unexplained wins. Filters of the first layer answer to the fineness of what they see, so a wrong side or filter
leaves a misfit that no choice of values removes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.imaging.augmentation import AUGMENTATIONS, Augmentation, augmented
from reid_audit.network.answers import outputs_under
from reid_audit.network.geometries import COARSE, USUAL, at_side, bare, changed, framings, interpolations, neighbours
from reid_audit.network.information import Informed
from reid_audit.network.joint_fit import JointFit, joint_fit, values_from
from reid_audit.network.stem import read_stems
from reid_audit.network.values import FittedValues, fit_values, with_values
from reid_audit.observer import StageAdvanced
from reid_audit.records import PreprocessSpec, Scaling

STAGE = "preprocessing"
"""Name of the search, for whoever watches."""
FilmsAt = Callable[[PreprocessSpec, int], Tensor]
"""At most so many of the same films, rendered under a specification: [N, C, side, side] in [0, 1] on the CPU."""

MANY, FEW, FEWEST = 256, 64, 16
"""Films for the last estimate, for the search, and the least at large sides."""
ANSWERED = 128
"""Films whose answers tell geometries apart."""
TWICE = 2.0
"""How much more than the best a geometry that the answers prefer may leave unexplained."""
PIXELS = 2**22
"""Pixels of all films of one estimate."""
ALL, LIKELY = 512, 6
"""Films, and geometries, of the joint fit: it needs those that the network remembers among the films."""
LIKELY_EACH = 3
"""Geometries of the joint fit for each scaling, where there are several."""
WORSE = 8.0
"""A coarse search over growing sides ends where the misfit is this many times the best so far."""
NEAR = 3.0
"""What lies beside the geometry that the joint fit prefers is asked jointly too up to this many times its misfit."""
EXPLAINED = 0.01
"""Mean square that the joint fit may leave unexplained, in the spread between films, and still decide the geometry. Of
a network that learned few films by heart it leaves 0.0002 and less, of one trained with care 0.001. Of one that learned
hundreds by heart in minibatches it leaves 0.05, since stored means of the last batches are of no fixed set of films,
and a wrong geometry can come out ahead (docs/preprocessing.md)."""
REMEMBERED = 0.03
"""Share of the statistics' deviation that may stay unexplained of films that are remembered as they are, without
augmentation. They decide the geometry too, however few they are."""
CERTAIN = 0.002
"""The share at which no other geometry is asked."""
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


@dataclass(slots=True)
class _Search:
    """Geometries tried so far."""

    target: Target
    films_at: FilmsAt
    pace: Pace
    stage: str
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
            stems = read_stems(self.target, films, self.pace)
            if stems is None:
                raise _NoStem
            stem = stems.averaged()
            self.tried[key] = min((fit_values(stem, invert=i) for i in (False, True)), key=lambda fit: fit.misfit)
            self.advanced()
        return self.tried[key].misfit

    def _takes(self, side: int) -> bool:
        if side not in self.taken:
            device, channels = next(self.target.module.parameters()).device, self.target.match.channels
            try:
                with torch.no_grad():
                    self.target.module(torch.zeros(1, channels, side, side, device=device))
                self.taken[side] = True
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
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


class _NoStem(Exception):
    """The first statistics layer cannot be asked."""


def fit_preprocess(
    target: Target,
    films_at: FilmsAt,
    *,
    side: int | None,
    scalings: Sequence[Scaling | None] = (None,),
    pace: Pace | None = None,
    stage: str = STAGE,
) -> Fitted | None:
    """The preprocessing that explains the network's first statistics layers best; None where they cannot be asked.

    side: pixels where they are known, None: searched over ``SIDES``. scalings: ways from stored values to [0, 1] that
    the films allow; ways that differ by one factor and summand for all films are one. Where the pace ends the search,
    the best so far is returned as not complete. Deterministic but for that. Raises OutOfTime where there was no time
    to try anything.
    """
    search = _Search(target, films_at, pace or unhurried(), stage)
    joint: _Joint | None = None
    geometry: PreprocessSpec | None = None
    augmentation: Augmentation = "none"
    complete = True
    try:
        geometry = _geometry(search, side, scalings)
        if not search.tried:
            return None
        joint = _Joint(search, geometry, free=side is None)
        joint.climb()
        informed = _informed(search, joint) if joint.share > REMEMBERED else None
        if informed is not None:
            geometry = informed
            joint.settle(geometry)
        if joint.share > REMEMBERED:
            sides = (geometry.side,) if side or informed else USUAL
            geometry, augmentation = _augmented(search, geometry, sides)
    except _NoStem:
        return None
    except OutOfTime:
        if not search.tried:
            raise
        geometry = geometry or min((tried for tried, _ in search.tried), key=search.misfit)
        complete = False
    if joint is not None and joint.best is not None and augmentation == "none":
        best, number = joint.best.spec, joint.films
    else:
        best, number = _valued(search, geometry, augmentation, MANY if complete else FEW)
    return Fitted(best, search.candidates(), augmentation, number, complete)


def _geometry(search: _Search, side: int | None, scalings: Sequence[Scaling | None]) -> PreprocessSpec:
    """Side, framing and interpolation for each scaling, one after the other: under a wrong scaling a wrong side fits
    best."""
    found = [_of_scaling(search, PreprocessSpec(side=side or 224, scaling=scaling), side) for scaling in scalings]
    return search.better(found[0], found[1:])


def _of_scaling(search: _Search, start: PreprocessSpec, side: int | None) -> PreprocessSpec:
    geometry = start if side is not None else _best_side(search, start)
    geometry = search.better(geometry, framings(geometry, free=side is None))
    geometry = search.better(geometry, interpolations(geometry))
    return geometry if side is not None else _climb(search, geometry)


def _valued(
    search: _Search, geometry: PreprocessSpec, augmentation: Augmentation, most: int
) -> tuple[PreprocessSpec, int]:
    """The geometry with values from at most so many films, and of how many. Where the time is over there are few of
    them: without any values the audit could not go on."""
    images = as_trained(search.films_at, geometry, augmentation, count_at(geometry, most))
    return best_values(search.target, geometry, images), len(images)


def as_trained(films_at: FilmsAt, geometry: PreprocessSpec, augmentation: Augmentation, count: int) -> Tensor:
    """At most ``count`` films [N, C, side, side] as training would have fed them. Crops are taken at twice the side."""
    side = geometry.side or 0
    if augmentation == "none":
        return films_at(geometry, count)
    generator = torch.Generator().manual_seed(SEED)
    if augmentation == "moved":
        return augmented(films_at(geometry, count), augmentation, side, generator)
    return augmented(films_at(at_side(geometry, 2 * side), count), augmentation, side, generator)


def best_values(target: Target, geometry: PreprocessSpec, images: Tensor, pace: Pace | None = None) -> PreprocessSpec:
    """``geometry`` with the values that explain the first statistics layer best for images [N, C, S, S] in [0, 1].

    The first layer hardly tells a film from its inversion; the layers behind it decide. Raises ValueError where the
    first layer cannot be asked, OutOfTime where the pace ends first.
    """
    stems = read_stems(target, images, pace)
    if stems is None:
        raise ValueError("the first statistics layer is not an affine function of the input")
    return values_from(target, geometry, images, stems, pace)


@dataclass(slots=True)
class _Joint:
    """The geometry under which some of the films explain the statistics best; ``start`` where under none they do.

    Among all films alike, a neighbouring side can fit a network of few films better than the true one.
    """

    search: _Search
    start: PreprocessSpec
    free: bool
    """Whether the side is open."""
    known: dict[tuple[PreprocessSpec, int], JointFit | None] = field(default_factory=dict)
    here: PreprocessSpec | None = None
    """The best so far of those that explain enough."""
    best: JointFit | None = None
    films: int = 0
    """That ``best`` was fitted on."""

    @property
    def share(self) -> float:
        """The share of the statistics' deviation that stays unexplained; infinite where nothing was asked."""
        return float("inf") if self.best is None else self.best.share

    def climb(self) -> None:
        """Ask the likeliest geometries, then whatever lies beside the best. Raises OutOfTime; what is known stays."""
        limit = WORSE * self.search.misfit(self.start)
        likely = [c for c in self.search.candidates() if c.augmentation == "none" and c.misfit <= limit]
        for found in _likeliest(likely):
            if self.share > CERTAIN:
                self._asked(bare(found.spec))
        while self.here is not None and self.share > CERTAIN and self._moved(self.here):
            pass
        if self.here is None:
            self.settle(self.start)

    def settle(self, geometry: PreprocessSpec) -> None:
        """Take the values of ``geometry``, however little it explains. Raises OutOfTime."""
        self.films = count_at(geometry, ALL)
        self.best = self._fit(geometry, self.films)

    def nearly_explains(self, geometry: PreprocessSpec) -> bool:
        """Whether ``geometry`` leaves less than ``TWICE`` what the best leaves, or none explains enough to tell.

        Raises OutOfTime.
        """
        if self.here is None:
            return True
        count = min(count_at(geometry, ALL), self.films)
        found, best = self._fit(geometry, count), self._fit(self.here, count)
        return found is not None and best is not None and found.unexplained <= TWICE * best.unexplained

    def _moved(self, here: PreprocessSpec) -> bool:
        """Whether a neighbouring geometry that fits nearly as well explains more. Raises OutOfTime."""
        limit = NEAR * self.search.misfit(here)
        ways = [*framings(here, free=self.free), *interpolations(here), *(neighbours(here) if self.free else ())]
        near = (way for way in ways if self.search.misfit(way) <= limit)
        return any(self._asked(way) for way in sorted(near, key=self.search.misfit))

    def _asked(self, geometry: PreprocessSpec) -> bool:
        """Whether ``geometry`` explains enough, and more than the best so far of as many films. Raises OutOfTime."""
        count = count_at(geometry, ALL)
        if self.here is not None:
            count = min(count, count_at(self.here, ALL))
            best = self._fit(self.here, count)
            found = self._fit(geometry, count)
            if found is None or best is None or found.unexplained >= best.unexplained:
                return False
        found = self._fit(geometry, count_at(geometry, ALL))
        if found is None or (found.unexplained > EXPLAINED and found.share > REMEMBERED):
            return False
        self.here, self.best, self.films = geometry, found, count_at(geometry, ALL)
        return True

    def _fit(self, geometry: PreprocessSpec, count: int) -> JointFit | None:
        """The joint fit of the first ``count`` films under ``geometry``. Raises OutOfTime."""
        if (geometry, count) not in self.known:
            self.search.pace.check(self.search.stage)
            images = self.search.films_at(geometry, count)
            self.known[geometry, count] = joint_fit(self.search.target, geometry, images, self.search.pace)
            self.search.advanced()
        return self.known[geometry, count]


def _informed(search: _Search, joint: _Joint) -> PreprocessSpec | None:
    """The geometry that the answers prefer to the one that the statistics prefer; None without one.

    Where the joint fit explains enough to choose, the answers choose among what explains nearly as much. Raises
    OutOfTime.
    """

    def asked(geometry: PreprocessSpec) -> Tensor | None:
        search.pace.check(search.stage)
        images = search.films_at(geometry, count_at(geometry, ANSWERED))
        search.advanced()
        return outputs_under(search.target, images, best_values(search.target, geometry, images, search.pace))

    start = joint.here or joint.start
    plain = (found for found in search.candidates() if found.augmentation == "none")
    likely = [bare(found.spec) for found in _distinct(plain)]
    found = Informed(asked, search.misfit, search.target, joint.free).best(start, likely)
    return found if found is not None and joint.nearly_explains(found) else None


def _distinct(found: Iterable[Candidate]) -> list[Candidate]:
    """The best of those that differ in more than the interpolation, and in what they show of the films."""
    framed: dict[PreprocessSpec, Candidate] = {}
    for each in found:
        framed.setdefault(changed(bare(each.spec), interpolation="bilinear"), each)
    return list({each.misfit: each for each in framed.values()}.values())


def _likeliest(likely: Sequence[Candidate]) -> list[Candidate]:
    """The first that are distinct, some of every scaling, best first."""
    ways = _distinct(likely)
    scalings = {found.spec.scaling for found in ways}
    most = LIKELY if len(scalings) == 1 else LIKELY_EACH
    own = [[found for found in ways if found.spec.scaling == scaling][:most] for scaling in scalings]
    return sorted((found for each in own for found in each), key=lambda found: found.misfit)


def _augmented(
    search: _Search, geometry: PreprocessSpec, sides: Sequence[int | None]
) -> tuple[PreprocessSpec, Augmentation]:
    """``geometry``, or one of the usual sides below it under an augmentation that explains clearly more."""
    best: tuple[PreprocessSpec, Augmentation] = (geometry, "none")
    here = geometry.side or 0
    for side in (side for side in sides if side is not None and here / 4 <= side <= 1.1 * here):
        for augmentation in AUGMENTATIONS[1:]:
            tried = at_side(geometry, side)
            if search.misfit(tried, augmentation) < CLEARLY * search.misfit(*best):
                best = (tried, augmentation)
    return best


def _best_side(search: _Search, start: PreprocessSpec) -> PreprocessSpec:
    """Growing sides until they are clearly worse, then uphill from the best."""
    best = changed(start, side=COARSE[0])
    for side in COARSE[1:]:
        larger = changed(start, side=side)
        best = min(best, larger, key=search.misfit)
        if search.misfit(larger) > WORSE * search.misfit(best):
            break
    return _climb(search, best)


def _climb(search: _Search, start: PreprocessSpec) -> PreprocessSpec:
    """From side to neighbouring side as long as the misfit falls."""
    here = start
    while True:
        moved = min(neighbours(here), key=search.misfit)
        if search.misfit(moved) >= search.misfit(here):
            return here
        here = moved


def count_at(geometry: PreprocessSpec, most: int) -> int:
    """Films that are rendered at this side."""
    pixels = PIXELS * most // MANY
    return max(FEWEST, min(most, pixels // (geometry.side or 224) ** 2))
