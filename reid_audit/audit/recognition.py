"""Membership of an audit's films, and of its canaries: of all, or of as many as there is time for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from reid_audit.attack.interface import AttackTask
from reid_audit.audit.allowance import Allowance, late, unlimited
from reid_audit.audit.attack_runs import numpy_for
from reid_audit.audit.attributes import attributes_of
from reid_audit.audit.cohorts import Turns
from reid_audit.audit.pacing import ENOUGH, MOST_ASKED
from reid_audit.audit.references import Beside
from reid_audit.budget import OutOfTime
from reid_audit.network.difference import displacement
from reid_audit.network.ordinary import prior_batches
from reid_audit.network.reading import Inputs
from reid_audit.records import Measured, Measurement, Metric, OverReferences, Reason, Reduced, Unmeasured
from reid_audit.reference.signals import VIEWS as SHOWN
from reid_audit.score.comparison import Comparison
from reid_audit.score.membership.answered import answered
from reid_audit.score.membership.consistency import VIEWS
from reid_audit.score.membership.families import Change, MembershipScores, has_certainty, membership_scores
from reid_audit.score.membership.generalisation import generalisation_gap
from reid_audit.score.membership.inference import (
    FEWEST_HOLDOUT,
    MEMBERSHIP,
    OF_ANSWERS,
    REFERENCES,
    MembershipOutcome,
    membership,
    membership_control,
)
from reid_audit.score.membership.over_references import Success, success
from reid_audit.score.membership.overconfidence import overconfident
from reid_audit.score.membership.subgroups import SUBGROUPS, SubgroupOutcome, subgroups

NO_TIME_FOR_GROUPS = SubgroupOutcome(late(*SUBGROUPS))
NO_TIME_FOR_GAP = Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.BUDGET)
ORDINARY = 256
"""Images of the prior that films are compared with where the base is known."""
ROW_SPACES = 2
"""Passes over the films that the comparison with the base costs."""


def membership_of(
    task: AttackTask,
    comparison: Comparison,
    allowed: Allowance | None = None,
    *,
    rows: NDArray[np.int64] | None = None,
    corrected: bool = True,
    beside: Beside | None = None,
) -> MembershipScores:
    """Membership scores of the films compared under the task's weights. ``task`` may hold a copy with canaries.

    rows: films in the order in which they are asked about, as far as the time allowed reaches; all in theirs without.
    beside: reference models for the same films; the answers are then scored against theirs. Raises OutOfTime.
    """
    allowed, device = allowed or unlimited(), task.space.mean.device
    turns = None if rows is None else torch.from_numpy(rows)
    inputs = Inputs(comparison.images, lambda part: task.inputs(part.to(device)), turns)
    ask = partial(
        membership_scores,
        task.target,
        inputs,
        comparison.labels if rows is None else comparison.labels[rows],
        pace=allowed.pace,
        rest=allowed.rest(further_passes(task, beside)) if rows is not None else None,
        corrected=corrected,
    )
    if task.base is None:
        known = ask()
    else:
        ordinary = prior_batches(task.space, task.inputs, ORDINARY)
        known = ask(change=Change(displacement(task.target, task.base), ordinary))
    return known if beside is None else against(known, task, beside, allowed, rows)


def further_passes(task: AttackTask, beside: Beside | None) -> int:
    """Passes over the films that membership scores cost beside those of every network."""
    own = (0 if task.base is None else ROW_SPACES) + (0 if has_certainty(task.target) else len(VIEWS))
    return own + (0 if beside is None else SHOWN)


def seconds_of_enough(task: AttackTask, films: int, allowed: Allowance, beside: Beside | None) -> float:
    """Seconds to ask the membership of so many of ``films`` that it may decide; 0 without a ceiling."""
    rest = allowed.rest(1 + further_passes(task, beside))
    return 0.0 if rest is None else rest(min(films, ENOUGH))


def against(
    known: MembershipScores, task: AttackTask, beside: Beside, allowed: Allowance, rows: NDArray[np.int64] | None
) -> MembershipScores:
    """``known`` with the answers scored against the references in the place of the families that look at them alone.

    Raises OutOfTime.
    """
    asked = None if rows is None else rows[: known.count]
    scores = {name: each for name, each in known.scores.items() if name not in OF_ANSWERS}
    scores[REFERENCES] = beside.score(task.target.module, allowed.pace, asked)
    return replace(known, scores=scores)


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """Membership of the pooled films, as far as the time reached."""

    outcome: MembershipOutcome
    explaining: float | None = None
    """How many films, effectively, share the explanation of the stored statistics."""
    corrected: bool = True
    """Whether the correction of the training batch size was tried; the control is asked likewise."""
    reduced: tuple[Reduced, ...] = ()
    groups: SubgroupOutcome = NO_TIME_FOR_GROUPS
    """How the recognised patients are spread over groups."""
    gap: Measurement = NO_TIME_FOR_GAP
    """How much more often the network is right on training films than on those of the hold-out."""
    over: Success | None = None
    """How often each patient is recognised over the reference models."""

    @property
    def over_references(self) -> OverReferences | None:
        """How many patients are recognised how often; may be published but for small cells."""
        return None if self.over is None else self.over.summary

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All of it that may be published."""
        return (*self.outcome.measurements, *self.groups.measurements, self.gap)


def recognition(
    task: AttackTask,
    comparison: Comparison,
    allowed: Allowance,
    seed: int,
    beside: Beside | None = None,
    *,
    level: float = 0.10,
) -> Recognition:
    """Membership of the patients the time allows, chosen by chance before a score is seen; without a ceiling of all, or
    of those whose films are the first ``MOST_ASKED``."""
    hurried = allowed.speed is not None or len(comparison.images) > MOST_ASKED
    turns = Turns.of(comparison.owners, numpy_for(seed, "turns")) if hurried else None
    asked = None if turns is None else turns.rows[: turns.complete(MOST_ASKED)[1]]
    try:
        known = membership_of(task, comparison, allowed, rows=asked, beside=beside)
    except OutOfTime:
        return unasked(comparison)
    rows, reduced = np.arange(len(comparison.images)), list[Reduced]()
    if turns is not None and known.count < len(comparison.images):
        patients, films = turns.complete(known.count)
        rows = turns.rows[:films]
        reduced.append(Reduced(stage="membership", done=patients, of=turns.ends.size, unit="patients"))
    elif turns is not None:
        rows = turns.rows
    if not known.corrected:
        reduced.append(Reduced(stage="batch_correction", done=0, of=1, unit="passes"))
    outcome = membership(
        {name: scores[: rows.size] for name, scores in known.scores.items()},
        comparison.owners.at(rows),
        numpy_for(seed, "membership"),
        level=level,
        without=Reason.NO_DATA_STATISTICS if task.target.match.head == "features" else Reason.NO_LABELS,
    )
    if rows.size < len(comparison.images):
        outcome = replace(outcome, measurements=tuple(too_few_in_time(m) for m in outcome.measurements))
    gap = gap_of(task, known, comparison, rows, seed)
    if outcome.knows_others:
        gap = Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.HOLDOUT_KNOWN)
    groups, over = by_group(outcome, comparison, seed), None
    if beside is not None:
        models = beside.models.at(beside.rows)
        over = success(models.signals, models.inside, comparison.owners.patients, numpy_for(seed, "over references"))
    return Recognition(outcome, known.explaining, known.corrected, tuple(reduced), groups, gap, over)


def gap_of(
    task: AttackTask, known: MembershipScores, comparison: Comparison, rows: NDArray[np.int64], seed: int
) -> Measurement:
    """The generalisation gap over the films ``rows``, of which ``known`` holds the first; unmeasured where the network
    does not answer their labels, or does not know them."""
    owners = comparison.owners.at(rows)
    if known.right is None or known.outputs is None:
        return generalisation_gap(None, owners, numpy_for(seed, "generalisation"))
    outputs, labels = known.outputs[: rows.size], comparison.labels[rows]
    if not answered(task.target.match.head, outputs, labels, owners.is_member, numpy_for(seed, "answered")):
        return Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.LABELS_UNANSWERED)
    if overconfident(task.target.match.head, outputs, labels, owners):
        return Unmeasured(metric=Metric.GENERALISATION_GAP, reason=Reason.FILMS_UNKNOWN)
    return generalisation_gap(known.right[: rows.size], owners, numpy_for(seed, "generalisation"))


def unasked(comparison: Comparison) -> Recognition:
    """Of nobody, for want of time."""
    nobody = Reduced(stage="membership", done=0, of=np.unique(comparison.owners.patients).size, unit="patients")
    return Recognition(MembershipOutcome(late(*MEMBERSHIP)), reduced=(nobody,))


def by_group(outcome: MembershipOutcome, comparison: Comparison, seed: int) -> SubgroupOutcome:
    """The rates of groups of patients; unmeasured where the rate of all is."""
    if outcome.ids is None or outcome.levelled is None or outcome.is_member is None:
        reasons = [m.reason for m in outcome.measurements if isinstance(m, Unmeasured)]
        return SubgroupOutcome(tuple(Unmeasured(metric=metric, reason=reasons[0]) for metric in SUBGROUPS))
    attributes = attributes_of(comparison, outcome.ids)
    return subgroups(outcome.levelled, outcome.is_member, attributes, numpy_for(seed, "subgroups"))


def too_few_in_time(measurement: Measurement) -> Measurement:
    """``measurement``, whose reason becomes the time where the patients reached in time are too few."""
    if isinstance(measurement, Unmeasured) and measurement.reason in (
        Reason.TOO_FEW_HOLDOUT,
        Reason.TOO_FEW_REFERENCE,
    ):
        return measurement.model_copy(update={"reason": Reason.BUDGET})
    return measurement


def recognised_canaries(
    task: AttackTask,
    planted: Comparison,
    allowed: Allowance,
    *,
    seed: int,
    corrected: bool,
    beside: Beside | None = None,
) -> Measurement:
    """``membership_control``: whether the same scores find the canaries, who come first in ``planted``.

    Where time is short, fewer of the others are asked about, but never fewer than the rates need. Raises OutOfTime.
    """
    count, films = int(planted.is_member.sum()), len(planted.images)
    rows = None
    if allowed.speed is not None or films > MOST_ASKED:
        rows = np.concatenate([np.arange(count), count + numpy_for(seed, "turns").permutation(films - count)])
        rows = rows[:MOST_ASKED]
    known = membership_of(task, planted, allowed, rows=rows, corrected=corrected, beside=beside)
    owners = planted.owners.at(np.arange(films) if rows is None else rows[: known.count])
    others = owners.patients[~owners.is_member]
    if known.count < films and np.unique(others).size < FEWEST_HOLDOUT:
        raise OutOfTime("membership control")
    return membership_control(known.scores, owners)


def lowest(found: Iterable[Measurement]) -> Measurement:
    """The lowest of the figures of several copies, or the first that is missing: the control has to be met by all."""
    known = list[Measured]()
    for each in found:
        if not isinstance(each, Measured):
            return each
        known.append(each)
    return min(known, key=lambda each: each.value)
