"""Whether films are turned as in training: does another turn show more of membership?

A network is most certain of its training films where they lie as it saw them, and films that lie on their side hide who
was in the training. Which way round training code put the slices of a volume no file says, so those that an affine
turned are asked in every turn. Pictures are stored as they are shown, but MONAI's readers swap rows and columns of
them, so they are asked in that turn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reid_audit.arch.target import Target
from reid_audit.audit.hidden_membership import FEWEST, Cohorts, judged
from reid_audit.audit.preprocessing import Specimens
from reid_audit.budget import Pace, unhurried
from reid_audit.observer import Noted
from reid_audit.records import Measured, Measurement, Metric, PreprocessSpec, Reason, Unmeasured
from reid_audit.score.calibration import auc

Turn = tuple[int, bool]
"""Quarter turns, after mirroring or without it."""
AS_GIVEN: Turn = (0, False)
TURNS: tuple[Turn, ...] = tuple((quarters, mirrored) for mirrored in (False, True) for quarters in range(4))
TRANSPOSED: Turn = (1, True)
"""Rows and columns swapped."""
WRONG = (
    "turned otherwise the films show more of membership: give them as training turned them, volumes by axes in the "
    "table, pictures with rows and columns swapped (docs/films.md)"
)


def turned(films: Specimens, turn: Turn) -> Specimens:
    """Raw ``films`` turned: views, which take no memory of their own."""
    quarters, mirrored = turn
    pixels = (film.pixels[:, ::-1] if mirrored else film.pixels for film in films.raw)
    put = (np.rot90(each, quarters) for each in pixels)
    return replace(films, raw=tuple(replace(film, pixels=own) for film, own in zip(films.raw, put, strict=True)))


def turned_membership(
    target: Target, used: PreprocessSpec, members: Specimens, strangers: Specimens, pace: Pace | None = None
) -> Measurement:
    """By how much another turn shows more of who was in the training, over ``HIDDEN``, as ``hidden_membership``.

    The first films of either cohort choose the turn, the rest judge it. Unmeasured where the films come in one frame
    only, the answers have no certainty or the films are too few. Raises OutOfTime.
    """
    if members.fixed is not None:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NOT_COMPUTED)
    pace = pace or unhurried()
    turns = TURNS if any(film.reoriented for film in members.raw) else (AS_GIVEN, TRANSPOSED)
    ways = {turn: Cohorts(target, turned(members, turn), turned(strangers, turn), pace) for turn in turns}
    first = ways[AS_GIVEN].first(used)
    if first < FEWEST:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.TOO_FEW_REFERENCE)
    found = {turn: cohorts.certainties(used, first) for turn, cohorts in ways.items()}
    areas = {turn: auc(*scores) for turn, scores in found.items() if scores is not None}
    if not areas:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS)
    best = max(areas, key=areas.__getitem__)
    if best == AS_GIVEN:
        return Measured(metric=Metric.PREPROCESS_FIT, value=0.0, n=2 * first)
    measured = judged(ways[AS_GIVEN], used, ways[best], used)
    if isinstance(measured, Measured) and measured.value > 1.0:
        pace.observer.notice(Noted(WRONG))
    return measured
