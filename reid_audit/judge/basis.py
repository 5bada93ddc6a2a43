"""What a PASS rests on beside its gates: reconstruction, and membership with or without reference models."""

from __future__ import annotations

from reid_audit import figures
from reid_audit.judge.case import Case
from reid_audit.judge.remedies import said_unmeasured
from reid_audit.records import (
    Control,
    ControlDecision,
    Gap,
    Measured,
    Metric,
    Outcome,
    Policy,
    Reason,
    Verdict,
)

OVERFITTED = 0.15
"""Generalisation gap of an overfitted network. A verdict warns where the gap surely lies above it, by its lower end,
and membership stands in for the attack only where it surely does not, by its upper end."""
UNKNOWN_GAP = (
    "none for the attack; membership with references stands in for it where --label names the training labels and the "
    f"generalisation gap ends at {OVERFITTED} or below, interval included: more hold-out patients narrow it"
)
NO_REFERENCES = Gap(
    text="membership was scored without reference models, which the policy requires",
    remedy="raise --budget, name the training labels with --label, give films of both cohorts, or where the references "
    "did not learn the films set rate and epochs in [references]",
)
NUMBERS = Gap(
    text="the network answers with a number, and without training labels its error on films is not known",
    remedy="name the column of the numbers it learned with --label",
)
YES_OR_NUMBER = Gap(
    text="the network's one output may be a yes/no answer or a number, and the file does not tell",
    remedy="name the training labels with --label, or say with --head which it is: sigmoid or regression",
)
NOT_LEARNED = (Reason.LABELS_UNANSWERED, Reason.FILMS_UNKNOWN, Reason.HOLDOUT_KNOWN)
WEAK = "Membership was scored without reference models, which is weak evidence."
"""Single patients that stand out only beside networks that never saw them stay unseen."""


def stands_in(controls: tuple[ControlDecision, ...], case: Case, policy: Policy) -> bool:
    """Whether membership with references takes the place of the reconstruction of planted patients.

    Only on a network that stores no statistics of its films, on which no reconstruction is known to work; where the
    same references found the planted patients; where the network is known not to be overfitted; and where the policy
    allows it. Who can rebuild a film can recognise it.
    """
    return _may_stand_in(controls, case, policy) and _generalises(case)


def _may_stand_in(controls: tuple[ControlDecision, ...], case: Case, policy: Policy) -> bool:
    met = any(row.control is Control.MEMBERSHIP_CONTROL and row.status == "met" for row in controls)
    return policy.references.stands_in and case.references > 0 and not case.stores_statistics and met


def _generalises(case: Case) -> bool:
    """Whether the gap, its interval included, lies at ``OVERFITTED`` or below.

    Planted patients are memorised harder than training patients: of a transformer that knew 388 patients by heart all
    planted ones were found beside references that recognised few of the others (docs/log.md). That the control is met
    does not show that nothing was memorised.
    """
    gap = case.find(Metric.GENERALISATION_GAP)
    return isinstance(gap, Measured) and gap.high is not None and gap.high <= OVERFITTED


def with_stand_in(controls: tuple[ControlDecision, ...], case: Case, policy: Policy) -> tuple[ControlDecision, ...]:
    """``controls``, of which an ``attack_power`` that a PASS lacks is not required where ``stands_in``."""
    if not _may_stand_in(controls, case, policy):
        return controls
    spared = {"status": "not_required", "lacking": False, "text": "", "remedy": ""}
    changes = spared if _generalises(case) else {"remedy": UNKNOWN_GAP}
    return tuple(row.model_copy(update=changes) if row.lacking and _unmet(row) else row for row in controls)


def _unmet(row: ControlDecision) -> bool:
    return row.control is Control.ATTACK_POWER and row.status != "met"


def lacking(case: Case, policy: Policy, *, screening: bool) -> tuple[Gap, ...]:
    """What membership lacks: reference models that the policy requires, what the network's answers mean, or the labels
    that it learned."""
    if screening:
        return ()
    without = policy.references.when == "required" and not case.references
    unread = _unread(case, policy)
    return (*((NO_REFERENCES,) if without else ()), *(() if unread is None else (unread,)), *_unanswered(case))


def _unanswered(case: Case) -> tuple[Gap, ...]:
    """That the labels, or the films, are not those that the network learned: what is scored under them hides
    membership."""
    gap = case.find(Metric.GENERALISATION_GAP)
    if isinstance(gap, Measured) or gap.reason not in NOT_LEARNED:
        return ()
    text, remedy = said_unmeasured(gap)
    return (Gap(metric=gap.metric, text=text, remedy=remedy),)


def _unread(case: Case, policy: Policy) -> Gap | None:
    """What ``unread`` answers lack, where no training labels were compared with them, or an earlier version did not
    ask."""
    gap = case.find(Metric.GENERALISATION_GAP)
    if isinstance(gap, Measured) or gap.reason not in (Reason.NO_LABELS, Reason.NOT_COMPUTED):
        return None
    return unread(case.head, case.outputs, stated=policy.head is not None)


def unread(head: str, outputs: int, *, stated: bool) -> Gap | None:
    """Why membership does not know the answers of a network without training labels; None where it does.

    A number is neither certain nor uncertain: a network of ages that knew 388 patients by heart was told apart by its
    error and by little else (docs/membership.md). One output may be a number where the head is not ``stated``.
    """
    if head == "regression":
        return NUMBERS
    return YES_OR_NUMBER if head == "sigmoid" and outputs == 1 and not stated else None


def warnings(case: Case) -> tuple[str, ...]:
    """What whoever reads a PASS should know of the network's training."""
    gap = case.find(Metric.GENERALISATION_GAP)
    if not isinstance(gap, Measured) or gap.low is None or gap.low <= OVERFITTED:
        return ()
    least = figures.plain(gap.low, (OVERFITTED,))
    return (
        f"{Metric.GENERALISATION_GAP.value}: the network is right on training films more often than on others, by at "
        f"least {least}; overfitting is how single patients come to be memorised",
    )


def named(verdict: Verdict, case: Case, policy: Policy) -> Verdict:
    """A PASS that says what it rests on; every other verdict as it is."""
    if verdict.outcome is not Outcome.PASS or verdict.screening:
        return verdict
    count = f"{case.references} reference model{'' if case.references == 1 else 's'}"
    if stands_in(verdict.controls, case, policy) and any(_unmet(row) for row in verdict.controls):
        beside = f" {len(verdict.waived)} waived." if verdict.waived else ""
        reason = (
            "No reconstruction is known to work on this kind of network, so the PASS rests on membership: scored with "
            f"{count} it found nothing, and its control shows it would have.{beside}"
        )
        return verdict.model_copy(update={"reason": reason})
    said = f"Membership was scored beside {count}." if case.references else WEAK
    return verdict.model_copy(update={"reason": f"{verdict.reason} {said}"})
