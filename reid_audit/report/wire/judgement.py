"""What the judge made of it: gates, controls, findings, the verdict, each network of the file."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import FiniteFloat, NonNegativeInt, model_validator

from reid_audit.records import (
    EXIT_CODES,
    Comparison,
    Control,
    ControlStatus,
    Direction,
    GateStatus,
    Metric,
    Outcome,
    Reason,
)
from reid_audit.report.wire.base import Label, Sentence, Wire
from reid_audit.report.wire.evidence import PublicMeasurement


class PublicNetwork(Wire):
    """One network of the file, where it holds several."""

    name: Label
    """Where in the file."""
    shown: bool
    """Whether this is the network that the rest of the report is about."""
    architecture: Label = ""
    """Empty: not known."""
    library: Label = ""
    tensors: NonNegativeInt = 0
    parameters: NonNegativeInt = 0
    copies: tuple[Sentence, ...] = ()
    """Where else in the file the same weights are."""
    beside: tuple[Label, ...] = ()
    """Tensors beside it that it does not run."""
    outcome: Outcome
    reason: Sentence
    breaches: tuple[Metric, ...] = ()
    gaps: tuple[Sentence, ...] = ()
    measurements: tuple[PublicMeasurement, ...] = ()
    """Empty for the one shown: they are the report's."""


class PublicWaiver(Wire):
    """Who answers for a breach, and until when; published as written."""

    reason: Sentence
    approved_by: Label
    expires: date


class PublicCorroboration(Wire):
    """A second metric that has to agree before a breach counts."""

    metric: Metric
    above: FiniteFloat


class GateRow(Wire):
    """One gate of the policy beside what was measured."""

    metric: Metric
    status: GateStatus
    direction: Direction
    """Which way the metric becomes riskier."""
    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    control: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    basis: Literal["value", "excess"] = "value"
    fail: FiniteFloat | None = None
    clear: FiniteFloat | None = None
    compared: FiniteFloat | None = None
    """The number that decided, less the control for an excess gate."""
    bound: Literal["value", "low", "high"] | None = None
    """Which number of the measurement that was: a breach takes the confidence bound that favours the model, a
    clearance the other."""
    limit: Literal["fail", "clear"] | None = None
    """Which threshold it was held against."""
    margin: FiniteFloat | None = None
    """Room left before that threshold; negative beyond it."""
    beyond: bool = False
    """Whether that number lies beyond that threshold."""
    uncorroborated: bool = False
    """Whether it is open although the confidence bound that favours the model is beyond ``fail``: for want of a second
    metric, or of another seed, that agrees."""
    corroborated_by: tuple[PublicCorroboration, ...] = ()
    waiver: PublicWaiver | None = None
    doubt: Reason | None = None
    """Why the number was measured but does not count; None where it counts, or nothing was measured."""
    lacking: bool = False
    """Whether a PASS lacks something here."""
    remedy: Sentence = ""
    """What would supply it."""

    @property
    def limits(self) -> tuple[float | None, ...]:
        """What ``value``, ``low`` and ``high`` are read against; nothing where the control is subtracted first."""
        return (self.fail, self.clear) if self.basis == "value" else ()


class ControlRow(Wire):
    """One control a PASS may need."""

    name: Control
    status: ControlStatus
    metric: Metric | None = None
    required: FiniteFloat | None = None
    direction: Comparison | None = None
    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    reason: Reason | None = None
    lacking: bool = False
    """Whether a PASS lacks it."""
    remedy: Sentence = ""


class Finding(Wire):
    """One sentence behind the verdict; gaps say what would close them."""

    kind: Literal["breach", "waived", "gap", "warning"]
    metric: Metric | None = None
    text: Sentence
    """The judge's own, with ids."""
    remedy: Sentence = ""
    label: Label = ""
    """What it is about, for reading; this and what follows are the words that every format shows."""
    sentence: Sentence = ""
    cause: Sentence = ""
    """Why it is undecided, not measured, or does not count."""
    advice: Sentence = ""
    """The remedy as a sentence."""
    page: Label = ""
    """Where it is explained, from the root of the repository of reid-audit."""


class PublicVerdict(Wire):
    """The answer."""

    outcome: Outcome
    exit_code: int
    reason: Sentence
    breaches: tuple[Metric, ...] = ()
    gaps: tuple[Sentence, ...] = ()
    waived: tuple[Metric, ...] = ()
    screening: bool = False

    @model_validator(mode="after")
    def _code_follows_outcome(self) -> PublicVerdict:
        if self.exit_code != EXIT_CODES[self.outcome]:
            raise ValueError(f"exit code {self.exit_code} does not belong to {self.outcome}")
        return self
