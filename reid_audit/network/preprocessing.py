"""How films became network input in training: a search over geometries, in four steps.

At first the stored statistics are compared with those of all films alike (search.py), then with those of the films that
the network remembers (remembered.py). Where neither decides, the answers do (information.py). At last the geometry that
was found is tried under random augmentation, where no films are remembered as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.imaging.augmentation import AUGMENTATIONS, Augmentation
from reid_audit.network.answers import outputs_under
from reid_audit.network.geometries import (
    COARSE,
    USUAL,
    at_side,
    bare,
    changed,
    framings,
    interpolations,
    neighbours,
    turns,
)
from reid_audit.network.information import FILMS, Informed, surely_less
from reid_audit.network.remembered import CERTAIN, REMEMBERED, WORSE, Remembered
from reid_audit.network.search import (
    ALL,
    CLEARLY,
    FEW,
    MANY,
    PLAIN,
    STAGE,
    FilmsAt,
    Fitted,
    NoStem,
    Search,
    Ways,
    as_trained,
    best_values,
    count_at,
    distinct,
)
from reid_audit.records import PreprocessSpec


def fit_preprocess(
    target: Target,
    films_at: FilmsAt,
    *,
    side: int | None,
    ways: Ways = PLAIN,
    pace: Pace | None = None,
    stage: str = STAGE,
) -> Fitted | None:
    """The preprocessing that explains the network's first statistics layers best; None where they cannot be asked.

    side: pixels where they are known, None: searched over ``SIDES``. Where the pace ends the search, the best so far is
    returned as not complete. Deterministic but for that. Raises OutOfTime where there was no time to try anything.
    """
    course = _Course(Search(target, films_at, pace or unhurried(), stage, ways), free=side is None)
    complete = True
    try:
        course.run(side)
    except NoStem:
        return None
    except OutOfTime:
        if not course.search.tried:
            raise
        complete = False
    return course.fitted(complete) if course.search.tried else None


@dataclass(slots=True)
class _Course:
    """The search as far as it has come."""

    search: Search
    free: bool
    """Whether the side is open."""
    geometry: PreprocessSpec | None = None
    augmentation: Augmentation = "none"
    joint: Remembered | None = None
    informed: Informed | None = None

    def run(self, side: int | None) -> None:
        """All of it: the statistics of all films alike, then of those that are remembered, the answers where those do
        not decide, and augmentation at last. Raises NoStem, OutOfTime; what was found until then stays."""
        self.geometry = _geometry(self.search, side)
        if not self.search.tried:
            return
        self.joint = Remembered(self.search, self.geometry, self.free)
        self.joint.climb()
        if self.joint.share > CERTAIN and self.search.ways.one_by_one():
            self.geometry = self.search.better(self.geometry, _one_by_one(self.search, side))
            self.joint.start = self.geometry
            self.joint.climb()
        answered = None
        if self.joint.share > REMEMBERED:
            self.informed = _informed(self.search, self.joint)
            self.informed.climb(_plain(self.search))
            answered = self.informed.found()
        if answered is not None and self.joint.nearly_explains(answered):
            self.joint.settle(answered)
            self.geometry = answered
        if self.informed is not None and self.joint.best is not None and self.joint.here is None:
            self.joint.best = replace(self.joint.best, spec=_answered_values(self.search, self.joint.best.spec))
        if self.joint.share > REMEMBERED:
            sides = (self.geometry.side,) if side or self.geometry == answered else USUAL
            self.geometry, self.augmentation = _augmented(self.search, self.geometry, sides)

    def fitted(self, complete: bool) -> Fitted:
        """The best so far with its values. Raises NoStem."""
        answered = None if complete else self._answered()
        if self.joint is not None and self.joint.best is not None and self.augmentation == "none" and answered is None:
            best, number = self.joint.best.spec, self.joint.films
        else:
            geometry = answered or self.geometry
            geometry = geometry or min((tried for tried, _ in self.search.tried), key=self.search.misfit)
            best, number = _valued(self.search, geometry, self.augmentation, MANY if complete else FEW)
        return Fitted(best, self.search.candidates(), self.augmentation, number, complete)

    def _answered(self) -> PreprocessSpec | None:
        """What the answers prefer so far where the time ended their search and the statistics do not decide."""
        if self.informed is not None and self.joint is not None and self.joint.here is None:
            with suppress(OutOfTime):
                found = self.informed.found()
                return None if found == self.geometry else found
        return None


def _geometry(search: Search, side: int | None) -> PreprocessSpec:
    """Turn, side, framing and interpolation for each scaling, one after the other: under a wrong scaling a wrong side
    fits best, and under a wrong turn a wrong side and frame."""
    starts = (PreprocessSpec(side=side or 224, scaling=scaling) for scaling in search.ways.scalings)
    found = [_of_scaling(search, start, side) for start in starts]
    return search.better(found[0], found[1:])


def _one_by_one(search: Search, side: int | None) -> list[PreprocessSpec]:
    """The same for films that are each brought to one range, or to one mean and deviation, by itself."""
    return [_of_scaling(search, changed(way, side=side or 224), side) for way in search.ways.one_by_one()]


def _of_scaling(search: Search, start: PreprocessSpec, side: int | None) -> PreprocessSpec:
    lying = [start, *turns(start, search.ways.turns)]
    lying = lying if side is not None else [_best_side(search, each) for each in lying]
    geometry = search.better(lying[0], lying[1:])
    geometry = search.better(geometry, framings(geometry, free=side is None))
    geometry = search.better(geometry, interpolations(geometry))
    return geometry if side is not None else _climb(search, geometry)


def _valued(
    search: Search, geometry: PreprocessSpec, augmentation: Augmentation, most: int
) -> tuple[PreprocessSpec, int]:
    """The geometry with values from at most so many films, and of how many. Where the time is over there are few of
    them: without any values the audit could not go on."""
    images = as_trained(search.films_at, geometry, augmentation, count_at(geometry, most))
    return best_values(search.target, geometry, images, None, search.ways.inverts), len(images)


def _informed(search: Search, joint: Remembered) -> Informed:
    """A search by the answers that begins with what the statistics prefer. ``asked`` raises OutOfTime.

    Parts of the films are searched where no geometry explains the statistics: else hardly any other explains them
    nearly as well.
    """

    def asked(geometry: PreprocessSpec, films: int) -> Tensor | None:
        search.pace.check(search.stage)
        images = search.films_at(geometry, count_at(geometry, films))
        search.advanced()
        values = search.values(geometry, images[:FILMS])
        return outputs_under(search.target, images, values)

    return Informed(asked, search, joint.here or joint.start, joint.free, cut=joint.here is None)


def _answered_values(search: Search, joint: PreprocessSpec) -> PreprocessSpec:
    """The values of the ``joint`` fit, or those that fit all films, where the answers under these surely tell more.

    Of statistics that no set of films explains, a few films explain as much under the values of their inversion.
    """
    images = search.films_at(joint, count_at(joint, ALL))
    plain = search.values(bare(joint), images[:FILMS])
    ours, theirs = (outputs_under(search.target, images, spec) for spec in (joint, plain))
    surely = ours is not None and theirs is not None and surely_less(search.target.match.head, ours, theirs)
    return plain if surely else joint


def _plain(search: Search) -> list[PreprocessSpec]:
    """What was tried without augmentation, likeliest first."""
    plain = (found for found in search.candidates() if found.augmentation == "none")
    return [bare(found.spec) for found in distinct(plain)]


def _augmented(
    search: Search, geometry: PreprocessSpec, sides: Sequence[int | None]
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


def _best_side(search: Search, start: PreprocessSpec) -> PreprocessSpec:
    """Growing sides until they are clearly worse, then uphill from the best."""
    best = changed(start, side=COARSE[0])
    for side in COARSE[1:]:
        larger = changed(start, side=side)
        best = min(best, larger, key=search.misfit)
        if search.misfit(larger) > WORSE * search.misfit(best):
            break
    return _climb(search, best)


def _climb(search: Search, start: PreprocessSpec) -> PreprocessSpec:
    """From side to neighbouring side as long as the misfit falls."""
    here = start
    while True:
        moved = min(neighbours(here), key=search.misfit)
        if search.misfit(moved) >= search.misfit(here):
            return here
        here = moved
