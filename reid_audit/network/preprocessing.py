"""How films became network input in training, asked of the first statistics layers: geometry searched, values fitted.

For every candidate geometry (side, resize, crop, interpolation, scaling) the grey values' mean, deviation and
inversion are fitted by least squares (values.py) to what the first statistics layer stores; the geometry that leaves
least unexplained wins. Filters of the first layer answer to the fineness of what they see, so a wrong side or filter
leaves a misfit that no choice of values removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.imaging.augmentation import AUGMENTATIONS, Augmentation, augmented
from reid_audit.network.joint_fit import JointFit, joint_fit, values_from
from reid_audit.network.stem import read_stems
from reid_audit.network.values import FittedValues, fit_values, with_values
from reid_audit.observer import StageAdvanced
from reid_audit.records import PreprocessSpec, Scaling

STAGE = "preprocessing"
"""Name of the search, for whoever watches."""
FilmsAt = Callable[[PreprocessSpec, int], Tensor]
"""At most so many of the same films, rendered under a specification: [N, C, side, side] in [0, 1] on the CPU."""

SIDES = (
    32, 40, 48, 56, 64, 72, 80, 96, 100, 112, 128, 144, 150, 160, 176, 192, 200, 208, 224, 240, 256, 260, 288, 299,
    320, 336, 352, 380, 384, 416, 448, 480, 512,
)  # fmt: skip
"""Sides in pixels that are tried where the file does not tell."""
COARSE = (32, 64, 128, 224, 384)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box")
CROP_FROM = 8 / 7
"""Resize to 256 and crop 224, of any side: torchvision's habit."""
MANY, FEW, FEWEST = 256, 64, 16
"""Films for the last estimate, for the search, and the least at large sides."""
PIXELS = 2**22
"""Pixels of all films of one estimate."""
ALL, LIKELY = 512, 6
"""Films, and geometries, of the joint fit: it needs those that the network remembers among the films."""
LIKELY_EACH = 3
"""Geometries of the joint fit for each scaling, where there are several."""
WORSE = 8.0
"""A coarse search over growing sides ends where the misfit is this many times the best so far."""
EXPLAINED = 0.3
"""Share of the first layers' statistics that the joint fit may leave unexplained and still decide the geometry. Of a
network that learned few films by heart it leaves a hundredth and less, of one trained with care a tenth. Of one that
learned hundreds by heart in minibatches it leaves half and more, since stored means of the last batches are of no fixed
set of films, and a wrong geometry can come out ahead (docs/preprocessing.md)."""
CLEARLY = 0.8
"""Another geometry is preferred where it leaves less than this share of the misfit."""
USUAL = (32, 64, 96, 128, 224, 256, 299, 320, 384, 448, 512)
"""Sides that are tried with augmentation: it blurs and magnifies, as another side would."""
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
    done: int = 0
    """Geometries, and joint fits, so far."""

    def misfit(self, geometry: PreprocessSpec, augmentation: Augmentation = "none") -> float:
        """Of the geometry with its best values. Raises OutOfTime where no time is left to try it."""
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
    try:
        geometry, augmentation = _geometry(search, side, scalings)
        complete = True
    except _NoStem:
        return None
    except OutOfTime:
        if not search.tried:
            raise
        (geometry, augmentation), complete = min(search.tried, key=lambda key: search.tried[key].misfit), False
    return _best(search, geometry, augmentation, complete=complete)


def _geometry(
    search: _Search, side: int | None, scalings: Sequence[Scaling | None]
) -> tuple[PreprocessSpec, Augmentation]:
    """Side, framing and interpolation for each scaling, one after the other: under a wrong scaling a wrong side fits
    best. Then the augmentation."""
    found = [_of_scaling(search, PreprocessSpec(side=side or 224, scaling=scaling), side) for scaling in scalings]
    geometry = search.better(found[0], found[1:])
    return _augmented(search, geometry, (geometry.side,) if side else USUAL)


def _of_scaling(search: _Search, start: PreprocessSpec, side: int | None) -> PreprocessSpec:
    geometry = start if side is not None else _best_side(search, start)
    geometry = search.better(geometry, framings(geometry))
    geometry = search.better(geometry, [_with(geometry, interpolation=name) for name in INTERPOLATIONS[1:]])
    return geometry if side is not None else _climb(search, geometry)


def _best(search: _Search, geometry: PreprocessSpec, augmentation: Augmentation, *, complete: bool) -> Fitted:
    """The geometry, or of the likeliest ones the one that a joint fit prefers, with its values.

    Where the time is over, the values come from few films: without any the audit could not go on.
    """
    joint, number, ended = _joint(search, geometry) if augmentation == "none" else (None, 0, True)
    if joint is None:
        most = MANY if complete and ended else FEW
        images = as_trained(search.films_at, geometry, augmentation, count_at(geometry, most))
        best, number = best_values(search.target, geometry, images), len(images)
    return Fitted(
        best=best if joint is None else joint.spec,
        candidates=search.candidates(),
        augmentation=augmentation,
        films=number,
        complete=complete and ended,
    )


def as_trained(films_at: FilmsAt, geometry: PreprocessSpec, augmentation: Augmentation, count: int) -> Tensor:
    """At most ``count`` films [N, C, side, side] as training would have fed them. Crops are taken at twice the side."""
    side = geometry.side or 0
    if augmentation == "none":
        return films_at(geometry, count)
    generator = torch.Generator().manual_seed(SEED)
    if augmentation == "moved":
        return augmented(films_at(geometry, count), augmentation, side, generator)
    larger = None if geometry.resize_to is None else 2 * geometry.resize_to
    return augmented(films_at(_with(geometry, side=2 * side, resize_to=larger), count), augmentation, side, generator)


def best_values(target: Target, geometry: PreprocessSpec, films: Tensor, pace: Pace | None = None) -> PreprocessSpec:
    """``geometry`` with the values that explain the first statistics layer best for films [N, C, side, side] in [0, 1].

    The first layer hardly tells a film from its inversion; the layers behind it decide. Raises ValueError where the
    first layer cannot be asked, OutOfTime where the pace ends first.
    """
    stems = read_stems(target, films, pace)
    if stems is None:
        raise ValueError("the first statistics layer is not an affine function of the input")
    return values_from(target, geometry, films, stems, pace)


def _joint(search: _Search, geometry: PreprocessSpec) -> tuple[JointFit | None, int, bool]:
    """Of the likeliest geometries the one under which some of the films explain the statistics best, the number of
    films it was fitted on, and whether there was time for all of them. ``geometry`` itself where under none they do.

    Among all films alike, a neighbouring side can fit a network of few films better than the true one.
    """
    limit = WORSE * search.misfit(geometry)
    likely = [found for found in search.candidates() if found.augmentation == "none" and found.misfit <= limit]
    best: JointFit | None = None
    number = 0
    try:
        for found in _likeliest(likely):
            fit, films = _fitted(search, found.spec)
            if fit is not None and fit.residual <= EXPLAINED and (best is None or fit.residual < best.residual):
                best, number = fit, films
        if best is None:
            best, number = _fitted(search, geometry)
    except OutOfTime:
        return best, number, False
    return best, number, True


def _fitted(search: _Search, geometry: PreprocessSpec) -> tuple[JointFit | None, int]:
    """The joint fit of one geometry, and of how many films. Raises OutOfTime."""
    search.pace.check(search.stage)
    images = search.films_at(geometry, count_at(geometry, ALL))
    fit = joint_fit(search.target, geometry, images, search.pace)
    search.advanced()
    return fit, len(images)


def _likeliest(likely: Sequence[Candidate]) -> list[Candidate]:
    """The first of those that differ, some of every scaling, best first."""
    distinct = [found for i, found in enumerate(likely) if i == 0 or found.misfit != likely[i - 1].misfit]
    scalings = {found.spec.scaling for found in distinct}
    most = LIKELY if len(scalings) == 1 else LIKELY_EACH
    own = [[found for found in distinct if found.spec.scaling == scaling][:most] for scaling in scalings]
    return sorted((found for each in own for found in each), key=lambda found: found.misfit)


def _augmented(
    search: _Search, geometry: PreprocessSpec, sides: Sequence[int | None]
) -> tuple[PreprocessSpec, Augmentation]:
    """``geometry``, or one of the usual sides below it under an augmentation that explains clearly more."""
    best: tuple[PreprocessSpec, Augmentation] = (geometry, "none")
    here = geometry.side or 0
    for side in (side for side in sides if side is not None and here / 4 <= side <= 1.1 * here):
        for augmentation in AUGMENTATIONS[1:]:
            tried = _with(geometry, side=side)
            if search.misfit(tried, augmentation) < CLEARLY * search.misfit(*best):
                best = (tried, augmentation)
    return best


def _best_side(search: _Search, start: PreprocessSpec) -> PreprocessSpec:
    """Growing sides until they are clearly worse, then uphill from the best."""
    best = _with(start, side=COARSE[0])
    for side in COARSE[1:]:
        larger = _with(start, side=side)
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


def neighbours(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    """The two next sides of ``SIDES`` in either direction."""
    place = min(range(len(SIDES)), key=lambda i: abs(SIDES[i] - (geometry.side or 0)))
    return [_with(geometry, side=SIDES[i]) for i in range(place - 2, place + 3) if i != place and 0 <= i < len(SIDES)]


def framings(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    """The other ways to make films square."""
    larger = round((geometry.side or 0) * CROP_FROM)
    return [
        _with(geometry, resize="shorter", crop="center"),
        _with(geometry, resize="shorter", crop="center", resize_to=larger),
        _with(geometry, resize="squash", crop="center", resize_to=larger),
    ]


def count_at(geometry: PreprocessSpec, most: int) -> int:
    """Films that are rendered at this side."""
    pixels = PIXELS * most // MANY
    return max(FEWEST, min(most, pixels // (geometry.side or 224) ** 2))


def _with(spec: PreprocessSpec, **changes: Any) -> PreprocessSpec:
    return spec.model_copy(update=changes)
