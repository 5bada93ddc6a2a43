"""Which preprocessing the audit uses: what is declared, and for the rest what the network's statistics say.

The films it is fitted on are those of both cohorts pooled, drawn without knowing which cohort a film is from, so that
nothing the permutation tests rest on depends on who is a member. Without them, the prior's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.audit.request import Films
from reid_audit.budget import OutOfTime, Pace
from reid_audit.cohort import Cohort, Frame, RawFilm, render
from reid_audit.imaging.stack import Joined, Stack
from reid_audit.network.answer_fit import fit_by_answers
from reid_audit.network.geometries import OF_PICTURES, OF_SLICES, WHOLE
from reid_audit.network.preprocessing import fit_preprocess
from reid_audit.network.search import (
    ALL,
    FEW,
    MANY,
    ROOM,
    STAGE,
    Candidate,
    Fitted,
    Ways,
    best_values,
    count_at,
    edge_needed,
)
from reid_audit.records import (
    CohortName,
    PerFilm,
    PreprocessCandidate,
    PreprocessFit,
    PreprocessPolicy,
    PreprocessSpec,
    Scaling,
    Turn,
)

Channels = Literal[1, 3]
PreprocessBy = Literal["policy", "statistics", "answers", "default"]
GEOMETRY = ("side", "keep", "resize", "crop", "resize_to", "interpolation", "turn", "per_film", "scaling")
VALUES = ("mean", "std", "invert", "per_film")
"""What is declared together: where a policy gives values, films are standardised one by one only if it says so."""
UNSTATED = {"keep", "resize_to", "per_film", "scaling"}
"""Parts of the geometry that are as they are by default where the others are stated."""
SHOWN = 8
"""Candidates a report lists."""
SPANNED = 0.98
"""Of what 8 bits hold, the share that films fill out where a stretch would not change them."""
GUESS = PreprocessSpec(mean=(0.5,), std=(0.5,))
"""Values where nothing tells them."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The preprocessing of one audit."""

    spec: PreprocessSpec
    """With its side."""
    by: PreprocessBy
    fit: PreprocessFit | None
    """What the statistics, or the answers under the training labels, say; None where neither can be asked."""
    channels: Channels = 1
    """What the films are read with: 3 for films in colour before a network that takes colours, else grey."""
    seconds: float = 0.0
    """Kept for the control, which searches once more."""

    @property
    def fitted_by_answers(self) -> bool:
        """Whether the search asked the answers under the training labels."""
        return self.fit is not None and self.fit.by == "answers"


@dataclass(frozen=True, slots=True, eq=False)
class Specimens:
    """A few films that can be rendered under any specification, or that come in one frame only."""

    raw: tuple[RawFilm, ...] = ()
    fixed: Tensor | None = None
    """[N, 1 or 3, side, side] in [0, 1]"""
    labels: NDArray[np.str_] | None = None
    channels: Channels = 1
    """Of what ``at`` renders."""

    @property
    def size(self) -> int:
        """How many films there are."""
        return len(self.raw) if self.fixed is None else len(self.fixed)

    def at(self, spec: PreprocessSpec, count: int) -> Tensor:
        """The first ``count`` films under ``spec`` (fixed ones as they are)."""
        if self.fixed is not None:
            return self.fixed[:count]
        return torch.stack([render(film, spec, spec.side or 224, self.channels) for film in self.raw[:count]])

    def ways(self, values: PreprocessSpec | None = None) -> Ways:
        """What is worth trying; ``values``: under their inversion, and what they say is done to every film alone."""
        if values is None:
            return Ways(self._scalings(), self.turns(), per_film=get_args(PerFilm), late=self.late())
        return Ways(self._scalings(), self.turns(), (values.invert,), (values.per_film,), self.late())

    def turns(self) -> tuple[Turn, ...]:
        """Ways that the films may have been turned."""
        return OF_SLICES if any(film.reoriented for film in self.raw) else OF_PICTURES

    def late(self) -> tuple[Scaling, ...]:
        """The stretch of each film from its darkest to its brightest value, of 8-bit films that it would change."""
        if not self.raw or any(film.kind != "8-bit" for film in self.raw):
            return ()
        spans = [high - low for low, high in (film.extremes() for film in self.raw)]
        return (Scaling(by="minmax"),) if float(np.mean(spans)) < SPANNED * 255 else ()

    def _scalings(self) -> tuple[Scaling | None, ...]:
        """Ways from stored values to [0, 1]: 8-bit films have one."""
        if all(film.kind == "8-bit" for film in self.raw):
            return (None,)
        ways = [_whole_range(self.raw), Scaling(by="minmax"), Scaling(by="percentiles", limits=(1.0, 99.0))]
        return (*ways, *([Scaling(by="window")] if any(film.window is not None for film in self.raw) else []))


def channels_of(films: Sequence[RawFilm], target: Target) -> Channels:
    """3 where most films are in colour and the network takes colours."""
    return 3 if target.match.channels == 3 and 2 * sum(film.in_colour() for film in films) > len(films) else 1


def specimens(target: Target, films: Films, cohorts: tuple[CohortName, ...], frame: Frame) -> Specimens | None:
    """Films of the cohorts that are given, pooled; in ``frame`` where they come in no other. None without any."""
    given = tuple(name for name in cohorts if getattr(films, name) is not None)
    if not given:
        return None
    if films.raw is not None:
        drawn = films.raw(given, ALL, edge_for(frame))
        return Specimens(raw=drawn.films, labels=drawn.labels, channels=channels_of(drawn.films, target))
    opened = [_opened(films, name, frame) for name in given]
    images = opened[0].images if len(opened) == 1 else Joined(opened[0].images, opened[1].images)
    labels = np.concatenate([cohort.labels for cohort in opened])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:ALL]
    return Specimens(fixed=images[order], labels=labels[order.numpy()])


def edge_for(frame: Frame) -> Callable[[int], int] | None:
    """From a film's place in the draw to the pixels of its shorter edge that are needed; None: its full size is.

    Without resizing, a network saw single pixels of the full film. Where a part is kept, or cut out after resizing, the
    whole film is larger than the side; where the side is known, every film may be rendered at it.
    """
    spec = frame.spec
    if spec.resize == "none":
        return None
    left, top, right, bottom = spec.keep or WHOLE
    more = max(1.0, (spec.resize_to or frame.side) / frame.side) / min(right - left, bottom - top)
    known = ROOM * (spec.side or 0)
    return lambda place: math.ceil(more * max(known, edge_needed(place)))


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a network says of its preprocessing, whatever a policy declares."""

    seen: Specimens | None = None
    """The films it was asked with; None: there are none."""
    fit: PreprocessFit | None = None


def drawn(target: Target, declared: PreprocessSpec | None, films: Films) -> Specimens | None:
    """Films of both cohorts pooled, or the prior's; None without any. ``declared`` frames films that come in one frame
    only. Raises CohortError where films cannot be read."""
    frame = _frame(target, declared)
    return specimens(target, films, ("reference", "holdout"), frame) or specimens(target, films, ("prior",), frame)


def ask_network(
    target: Target, declared: PreprocessSpec | None, seen: Specimens | None, pace: Pace | None = None
) -> Asked:
    """Ask with the films that were ``drawn``, whatever is ``declared``.

    The search ends with ``pace`` (None: it takes the time it needs), and tells its observer of every step; where no
    time is left, nothing is asked.
    """
    if seen is None or (pace is not None and pace.meter.exhausted() is not None):
        return Asked()
    side = known_side(target) if seen.fixed is None else _frame(target, declared).side
    return Asked(seen, _fit(target, seen, side, pace))


def left_open(policy: PreprocessPolicy) -> bool:
    """Whether anything that becomes of a film before the network sees it is left to the search."""
    stated = set() if policy.declared is None else policy.declared.model_fields_set
    return policy.values == "inferred" or not set(GEOMETRY) - UNSTATED <= stated


def choose_preprocessing(target: Target, policy: PreprocessPolicy, asked: Asked, pace: Pace | None = None) -> Chosen:
    """Declared parts as declared; the rest as the network's first statistics layers say, or its answers, or by
    default. pace: where it ends, values for a declared geometry come from few films."""
    fit, side = asked.fit, known_side(target)
    channels: Channels = 1 if asked.seen is None else asked.seen.channels
    start = _where_to_start(target, policy, asked, pace)
    geometry = start.model_copy(update=_stated(policy.declared) | ({"side": side} if side else {}))
    geometry = _framed_alike(start, geometry, geometry.side or _frame(target, policy.declared).side)
    if policy.declared is not None and policy.values == "declared":
        values = {name: getattr(policy.declared, name) for name in VALUES}
        return Chosen(geometry.model_copy(update=values), "policy", fit, channels)
    if fit is None or asked.seen is None:
        return Chosen(geometry, "default", None, channels)
    if fit.by == "statistics" and geometry != fit.best:
        geometry = _values_in_time(target, geometry, asked.seen, fit, pace)
    return Chosen(geometry, fit.by, fit, channels)


def _where_to_start(target: Target, policy: PreprocessPolicy, asked: Asked, pace: Pace | None) -> PreprocessSpec:
    """What the search found, for the parts that are not declared.

    A turn or a part that was found for inverted films may be another one for films that are not. So where the search
    contradicts the declared inversion, or what is declared to be done to every film by itself, it is made once more
    under that; where no time is left, films are taken whole and as they lie.
    """
    fit, seen, declared = asked.fit, asked.seen, policy.declared
    if fit is None:
        return GUESS
    if declared is None or policy.values != "declared" or seen is None or seen.fixed is not None:
        return fit.best
    if (fit.best.invert, fit.best.per_film) == (declared.invert, declared.per_film):
        return fit.best
    again = _fit(target, seen, known_side(target), pace, declared)
    return fit.best.model_copy(update={"turn": "none", "keep": None}) if again is None else again.best


def _framed_alike(found: PreprocessSpec, geometry: PreprocessSpec, side: int) -> PreprocessSpec:
    """``geometry`` at ``side``; a size before the crop that was found at another side keeps its proportion to it."""
    resized = geometry.resize_to
    if resized is not None and resized == found.resize_to and found.side:
        resized = round(resized * side / found.side)
    return geometry.model_copy(update={"side": side, "resize_to": resized})


def _values_in_time(
    target: Target, geometry: PreprocessSpec, seen: Specimens, fit: PreprocessFit, pace: Pace | None
) -> PreprocessSpec:
    """``geometry`` with the values that explain the statistics best: of as many films as the search had, or of few."""
    many = min(fit.films, count_at(geometry, MANY))
    with suppress(OutOfTime):
        return best_values(target, geometry, seen.at(geometry, many), pace)
    return best_values(target, geometry, seen.at(geometry, min(many, count_at(geometry, FEW))))


def known_side(target: Target) -> int | None:
    """Pixels, where the weights tell them."""
    return target.match.side if target.match.side_by == "weights" else None


def _frame(target: Target, declared: PreprocessSpec | None) -> Frame:
    spec = declared or PreprocessSpec()
    return Frame(spec, known_side(target) or spec.side or target.match.side, 1)


def _fit(
    target: Target, seen: Specimens, side: int | None, pace: Pace | None, values: PreprocessSpec | None = None
) -> PreprocessFit | None:
    """By the statistics; by the answers under the training labels where there are no statistics to ask. None where
    neither can be asked or there is no time."""
    ways = seen.ways(values) if seen.fixed is None else None
    try:
        if ways is None:
            found = None
            by_values = _fit_values(target, seen, side or 0)
            if by_values is not None:
                return by_values
        else:
            found = fit_preprocess(target, seen.at, side=side, ways=ways, pace=pace)
        by: Literal["statistics", "answers"] = "answers" if found is None else "statistics"
        found = answers_fit(target, seen, side, pace, ways=ways) if found is None else found
    except OutOfTime:
        return None
    if found is None:
        return None
    return PreprocessFit(
        best=found.best,
        by=by,
        augmentation=found.augmentation,
        films=found.films,
        complete=found.complete,
        candidates=_listed(found.candidates),
    )


def answers_fit(
    target: Target,
    seen: Specimens,
    side: int | None,
    pace: Pace | None,
    stage: str = STAGE,
    *,
    ways: Ways | None,
) -> Fitted | None:
    """What the answers of the network say under the labels of ``seen``; None where they say nothing. ways: None of
    films that come in one frame only, which are asked in it. Raises OutOfTime where there was no time to ask anything.
    """
    if seen.labels is None:
        return None
    frame = side or target.match.side if ways is None else side
    return fit_by_answers(target, seen.at, seen.labels, side=frame, ways=ways, pace=pace, stage=stage)


def _fit_values(target: Target, seen: Specimens, side: int) -> PreprocessFit | None:
    geometry = PreprocessSpec(side=side)
    films = seen.at(geometry, MANY)
    try:
        best = best_values(target, geometry, films)
    except ValueError:
        return None
    return PreprocessFit(best=best, by="statistics", augmentation="none", films=len(films), candidates=())


def _listed(candidates: Sequence[Candidate]) -> tuple[PreprocessCandidate, ...]:
    best = sorted(candidates, key=lambda candidate: candidate.misfit)[:SHOWN]
    return tuple(
        PreprocessCandidate(spec=tried.spec, misfit=tried.misfit, augmentation=tried.augmentation) for tried in best
    )


def _stated(declared: PreprocessSpec | None) -> dict[str, object]:
    """The parts of the geometry that a policy states; a stated resize or crop is meant without another size or cut."""
    if declared is None:
        return {}
    stated = {name: getattr(declared, name) for name in GEOMETRY if name in declared.model_fields_set}
    if {"resize", "crop"} & set(stated):
        stated = {"resize_to": None, "keep": None} | stated
    return {name: value for name, value in stated.items() if name not in ("side", "scaling") or value is not None}


def _opened(films: Films, name: CohortName, frame: Frame) -> Cohort[Stack]:
    """The cohort of a name whose films are given."""
    if name == "prior" and films.prior is not None:
        return films.prior(frame).cohort
    opener = films.reference if name == "reference" else films.holdout
    if opener is None:
        raise ValueError(f"there are no films of the {name}")
    return opener(frame)


def _whole_range(films: Sequence[RawFilm]) -> Scaling:
    """0 to the largest number of as many bits as the films' values use: 12 of 16, say; or what the bits can hold."""
    lowest, highest = min(film.extremes()[0] for film in films), max(film.extremes()[1] for film in films)
    used = 2.0 ** np.ceil(np.log2(max(highest, 1.0) + 1.0)) - 1.0
    if any(film.kind != "integer" for film in films) or lowest < 0 or used >= max(film.high for film in films):
        return Scaling(by="bits")
    return Scaling(by="range", limits=(0.0, float(used)))
