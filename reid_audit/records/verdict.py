"""The answer: five outcomes, one row for each gate and control, and what led to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import FiniteFloat

from reid_audit.records.base import Record
from reid_audit.records.controls import Comparison, Control
from reid_audit.records.metrics import Metric, Reason
from reid_audit.records.policy import Waiver


class Outcome(StrEnum):
    """The five ways a check can end."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_AUDITED = "not_audited"
    REFUSED = "refused"


EXIT_CODES: dict[Outcome, int] = {
    Outcome.PASS: 0,
    Outcome.FAIL: 1,
    Outcome.NOT_AUDITED: 3,
    Outcome.INCONCLUSIVE: 4,
    Outcome.REFUSED: 5,
}


class Breach(Record):
    """A gate that failed the model, or would have without its waiver."""

    metric: Metric
    text: str


class Gap(Record):
    """Evidence that is missing for a PASS, and what would supply it."""

    metric: Metric | None = None
    text: str
    remedy: str


class Demotion(Record):
    """A number that was measured but did not count, because an assumption of its test is not met here."""

    metric: Metric
    reason: Reason


GateStatus = Literal["breach", "waived", "clear", "open", "indicator", "unmeasured", "off"]
ControlStatus = Literal["met", "missed", "unmeasured", "not_required"]


class GateDecision(Record):
    """What became of one gate of the policy. Every report shows these rows; nothing decides them again."""

    metric: Metric
    status: GateStatus
    """``open``: undecided. ``indicator``: measured, but an assumption is not met. ``unmeasured``: no number, or none to
    compare it with. ``off``: the policy sets no limit."""
    compared: FiniteFloat | None = None
    """The number that decided, less the control for an excess gate."""
    bound: Literal["value", "low", "high"] | None = None
    """Which number of the measurement that was."""
    limit: Literal["fail", "clear"] | None = None
    """Which threshold it was held against."""
    margin: FiniteFloat | None = None
    """Room left before that threshold; negative beyond it."""
    beyond: bool = False
    """Whether that number lies beyond that threshold."""
    uncorroborated: bool = False
    """Whether it is open although the confidence bound that favours the model is beyond ``fail``: for want of a second
    metric, or of another seed, that agrees."""
    doubt: Reason | None = None
    """Why the number was measured but does not count."""
    waiver: Waiver | None = None
    """The waiver that took the gate out of the breaches, or would have, had it not expired."""
    lacking: bool = False
    """Whether a PASS lacks something here."""
    text: str = ""
    """The breach, or what is lacking, as one sentence; empty where there is nothing to say."""
    remedy: str = ""
    """What would supply what is lacking."""


class ControlDecision(Record):
    """What became of one control."""

    control: Control
    status: ControlStatus
    metric: Metric | None = None
    compared: FiniteFloat | None = None
    bound: Literal["value", "low"] | None = None
    limit: FiniteFloat | None = None
    comparison: Comparison | None = None
    reason: Reason | None = None
    """Why there is no number."""
    lacking: bool = False
    """Whether a PASS lacks it."""
    text: str = ""
    remedy: str = ""


class Verdict(Record):
    """The answer, with what led to it."""

    outcome: Outcome
    reason: str
    """One sentence."""
    gates: tuple[GateDecision, ...] = ()
    """One row for each gate of the policy, in its order."""
    controls: tuple[ControlDecision, ...] = ()
    """One row for each control, required or not."""
    breaches: tuple[Breach, ...] = ()
    gaps: tuple[Gap, ...] = ()
    waived: tuple[Breach, ...] = ()
    warnings: tuple[str, ...] = ()
    demoted: tuple[Demotion, ...] = ()
    screening: bool = False

    @property
    def exit_code(self) -> int:
        """The process exit code: a total function of the outcome."""
        return EXIT_CODES[self.outcome]
