"""The geometry under which some of the films explain the statistics best: those that the network remembers.

Among all films alike, a neighbouring side can fit a network of few films better than the true one. So the likeliest
geometries are fitted once more, values and remembered films in turn (joint_fit.py), and the search goes on from the
best of them to whatever lies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reid_audit.network.geometries import (
    FINER,
    STEP,
    bare,
    framings,
    interpolations,
    neighbours,
    parts,
    per_film,
    turns,
)
from reid_audit.network.joint_fit import JointFit, joint_fit
from reid_audit.network.search import ALL, Candidate, Search, count_at, distinct
from reid_audit.records import PerFilm, PreprocessSpec, Scaling

LIKELY = 6
"""Geometries that are fitted once more."""
LIKELY_EACH = 3
"""Geometries of the joint fit for each scaling, and for films standardised one by one, where there are several."""
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
DOUBT = 2.0
"""Films standardised or stretched one by one must leave less than half of what stays unexplained of films as they are:
of a network that learned standardised films by heart they leave an eightieth, of one that did not sometimes a fifth
less (docs/log.md)."""
TWICE = 2.0
"""How much more than the best a geometry that the answers prefer may leave unexplained."""


@dataclass(slots=True)
class Remembered:
    """The geometry under which some of the films explain the statistics best; ``start`` where under none they do."""

    search: Search
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
        self._uphill()
        if self.here is None:
            self.settle(self.start)

    def _uphill(self) -> None:
        """From the best so far to what lies beside it as long as more is explained. Raises OutOfTime."""
        while self.here is not None and self.share > CERTAIN and self._moved(self.here):
            pass

    def settle(self, geometry: PreprocessSpec) -> None:
        """Take the values of ``geometry``, however little it explains, and go on from there where it explains the films
        as they are. Raises OutOfTime."""
        self.films = count_at(geometry, ALL)
        self.best = self._fit(geometry, self.films)
        if self.share <= REMEMBERED:
            self.here = geometry
            self._uphill()

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
        ways = [*framings(here, free=self.free), *interpolations(here), *turns(here, self.search.ways.turns)]
        ways += per_film(here, self.search.ways.per_film)
        ways += neighbours(here) if self.free else ()
        return self._any(here, ways) or (self.share <= REMEMBERED and self._cut(here))

    def _cut(self, here: PreprocessSpec) -> bool:
        """Whether another part of the films explains more; those of films that are remembered as they are, which the
        least shift makes strangers. Raises OutOfTime."""
        return any(self._any(here, parts(here, step)) for step in (STEP, *FINER))

    def _any(self, here: PreprocessSpec, ways: Sequence[PreprocessSpec]) -> bool:
        """Whether one of ``ways`` that fits nearly as well as ``here`` explains more. Raises OutOfTime."""
        near = self.search.unlike(here, ways, NEAR * self.search.misfit(here))
        return any(self._asked(way) for way in sorted(near, key=self.search.misfit))

    def _asked(self, geometry: PreprocessSpec) -> bool:
        """Whether ``geometry`` explains enough, and more than the best so far of as many films. Raises OutOfTime."""
        count = count_at(geometry, ALL)
        if self.here is not None:
            count = min(count, count_at(self.here, ALL))
            best = self._fit(self.here, count)
            found = self._fit(geometry, count)
            if found is None or best is None or self._weighed(found) >= self._weighed(best):
                return False
        found = self._fit(geometry, count_at(geometry, ALL))
        if found is None or (found.unexplained > EXPLAINED and found.share > REMEMBERED):
            return False
        self.here, self.best, self.films = geometry, found, count_at(geometry, ALL)
        return True

    def _weighed(self, fit: JointFit) -> float:
        """What stays unexplained, of films that something is done to one by one ``DOUBT`` times as much."""
        alone = fit.spec.per_film != "none" or fit.spec.scaling in self.search.ways.late
        return DOUBT * fit.unexplained if alone else fit.unexplained

    def _fit(self, geometry: PreprocessSpec, count: int) -> JointFit | None:
        """The joint fit of the first ``count`` films under ``geometry``. Raises OutOfTime."""
        if (geometry, count) not in self.known:
            self.search.pace.check(self.search.stage)
            images = self.search.films_at(geometry, count)
            self.known[geometry, count] = joint_fit(
                self.search.target, geometry, images, self.search.pace, self.search.ways.inverts
            )
            self.search.advanced()
        return self.known[geometry, count]


def _likeliest(likely: Sequence[Candidate]) -> list[Candidate]:
    """The first that are distinct, some of every scaling and of what is done to every film by itself, best first."""
    kinds: dict[tuple[Scaling | None, PerFilm], list[Candidate]] = {}
    for found in distinct(likely):
        kinds.setdefault((found.spec.scaling, found.spec.per_film), []).append(found)
    most = LIKELY if len(kinds) == 1 else LIKELY_EACH
    own = [found[:most] for found in kinds.values()]
    return sorted((found for each in own for found in each), key=lambda found: found.misfit)
