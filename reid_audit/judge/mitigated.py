"""The verdict on a mitigated copy: that of its audit, unless the mitigations only blinded the audit.

An audit of the copy alone does not know what was done to it. Where statistics were replaced, the copy is written so
that the audit finds none and membership decides. Where what an attack reads was hidden or blunted, the copy's controls
are met by patients that are planted afterwards, in plain sight: they say nothing of those the network learned before.
"""

from __future__ import annotations

from collections.abc import Sequence

from reid_audit.judge.again import with_gaps
from reid_audit.records import AppliedMitigation, AuditResult, Control, Gap, MitigationEffect, Outcome

REMOVE = "use a mitigation that replaces what is read (recompute-bn, distil), or train again"
WEAKER: dict[MitigationEffect, str] = {
    "hides": "{name} takes what the audit reads out of sight and not out of the weights, and the original did not pass",
    "blunts": (
        "{name} makes what the audit reads less exact, the planted patients of its controls are read without that, and "
        "the original did not pass"
    ),
}
"""Why a copy of a network that did not pass cannot pass either."""


def held(before: AuditResult, after: AuditResult, applied: Sequence[AppliedMitigation]) -> AuditResult:
    """``after`` with the verdict that counts, and with what withholds a PASS under every other policy too."""
    gaps = standing(before, after, applied)
    counted = gaps if after.verdict.outcome is not Outcome.FAIL else ()
    return after.model_copy(update={"verdict": with_gaps(after.verdict, counted), "standing": gaps})


def standing(before: AuditResult, after: AuditResult, applied: Sequence[AppliedMitigation]) -> tuple[Gap, ...]:
    """What the evidence on the copy lacks because of how it came about."""
    return (*_weaker(before, applied), *_replaced(before, after, applied))


def _weaker(before: AuditResult, applied: Sequence[AppliedMitigation]) -> tuple[Gap, ...]:
    if before.verdict.outcome is Outcome.PASS:
        return ()
    return tuple(
        Gap(text=WEAKER[one.effect].format(name=one.name), remedy=REMOVE) for one in applied if one.effect in WEAKER
    )


def _replaced(before: AuditResult, after: AuditResult, applied: Sequence[AppliedMitigation]) -> tuple[Gap, ...]:
    """Replaced statistics must not be read as if they were the training's, nor vouch for the preprocessing they were
    made with."""
    if not before.architecture.data_statistics or all(one.effect != "replaces" for one in applied):
        return ()
    gaps = []
    if after.architecture.data_statistics:
        text = "the copy stores statistics of other films, and the attack read them as if they were the training's"
        gaps.append(Gap(text=text, remedy="apply a mitigation that replaces statistics last"))
    if not _met(before, Control.PREPROCESS_FIT):
        gaps.append(
            Gap(
                text="the copy's statistics were made with a preprocessing that the original's did not confirm",
                remedy="reach preprocess_fit on the original: declare [preprocess] as the training code has it",
            )
        )
    return tuple(gaps)


def _met(found: AuditResult, control: Control) -> bool:
    return any(row.control is control and row.status == "met" for row in found.verdict.controls)
