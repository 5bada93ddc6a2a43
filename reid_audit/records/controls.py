"""The table of controls: what has to work before silence counts as evidence, and what the policy asks of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from reid_audit.records.base import Fraction, Record
from reid_audit.records.metrics import Metric

Comparison = Literal["at_least", "at_most", "above"]


class Control(StrEnum):
    """One word per control: the same in policy, report and docs."""

    ATTACK_POWER = "attack_power"
    SCORER_SENSITIVITY = "scorer_sensitivity"
    MEMBERSHIP_CONTROL = "membership_control"
    PREPROCESS_FIT = "preprocess_fit"
    NEGATIVE_CONTROL = "negative_control"
    EXCHANGEABILITY = "exchangeability"
    PRIOR_DISJOINT = "prior_disjoint"


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """One control. The policy switches it with the key of its name (``Controls``)."""

    control: Control
    label: str
    meaning: str
    """What it shows, as one sentence."""
    remedy: str
    """What to do where it is not met."""
    metric: Metric | None = None
    """What it reached; None for a control that is met or not, without a number."""
    limit: str = ""
    """The key of ``Controls`` that says what it has to reach."""
    comparison: Comparison = "at_least"
    bound: Literal["value", "low"] = "value"
    """Which number has to reach the limit: the value, or the lower end of its interval."""
    planted: bool = False
    """Whether it needs canaries: as many hold-out patients, and as many again."""


_ENTRIES = (
    ControlEntry(
        Control.ATTACK_POWER,
        "The attack can find patients",
        "Run on a copy that memorised hold-out patients, it must find them.",
        "the attack did not find the planted canaries: raise the step budget",
        metric=Metric.ATTACK_POWER,
        limit="attack_power_p",
        comparison="at_most",
        planted=True,
    ),
    ControlEntry(
        Control.SCORER_SENSITIVITY,
        "The matching can see",
        "Degraded training films must be matched to their patients.",
        "the scorer misses degraded training films: use a prior of the same modality and region",
        metric=Metric.SCORER_SENSITIVITY,
        limit="scorer_sensitivity_low",
        bound="low",
    ),
    ControlEntry(
        Control.MEMBERSHIP_CONTROL,
        "The membership score can see",
        "It must recognise the planted patients.",
        "the membership score misses the canaries: check [preprocess] against the training code",
        metric=Metric.MEMBERSHIP_CONTROL,
        limit="membership_control_tpr",
        planted=True,
    ),
    ControlEntry(
        Control.PREPROCESS_FIT,
        "The films are seen as in training",
        "No other preprocessing may explain the network's first statistics clearly better.",
        "another preprocessing explains the network's first statistics better: the report shows the [preprocess] table",
        metric=Metric.PREPROCESS_FIT,
        limit="preprocess_fit_excess",
        comparison="at_most",
    ),
    ControlEntry(
        Control.NEGATIVE_CONTROL,
        "No alarm without the model",
        "The same attack without the weights must not be flagged.",
        "the attack without target information is flagged: the prior or the split favours the training films",
        metric=Metric.NEGATIVE_CONTROL_P,
        limit="negative_control_p",
        comparison="above",
    ),
    ControlEntry(
        Control.EXCHANGEABILITY,
        "The two sets are alike",
        "Training and hold-out films must not differ in kind.",
        "training and hold-out films, or their labels, differ in kind: give films from the same source, labelled alike",
        metric=Metric.EXCHANGEABILITY_P,
        limit="exchangeability_p",
        comparison="above",
    ),
    ControlEntry(
        Control.PRIOR_DISJOINT,
        "The prior knew none of them",
        "The image prior must not have been trained on these patients.",
        "use a prior that declares training sets disjoint from both cohorts",
    ),
)
CONTROLS: dict[Control, ControlEntry] = {entry.control: entry for entry in _ENTRIES}
"""Every control, in the order of the report."""


class Controls(Record):
    """Controls a PASS needs, and what each has to reach: for every entry of ``CONTROLS`` its switch and its limit."""

    attack_power: bool = True
    attack_power_p: Fraction = 0.01
    """The canary attack must reach this p-value."""
    scorer_sensitivity: bool = True
    scorer_sensitivity_low: Fraction = 0.5
    membership_control: bool = True
    membership_control_tpr: Fraction = 0.5
    preprocess_fit: bool = True
    preprocess_fit_excess: NonNegativeFloat = 1.0
    """How much worse than the best preprocessing known the one in use may explain the network's first statistics, as a
    multiple of what the control allows."""
    negative_control: bool = True
    negative_control_p: Fraction = 0.01
    """The attack without target information must not be flagged at this level."""
    exchangeability: bool = True
    exchangeability_p: Fraction = 0.01
    prior_disjoint: bool = True
    canaries: PositiveInt = 8
    """Hold-out patients the power control is fine-tuned on."""

    def asks(self, control: Control) -> bool:
        """Whether a PASS needs ``control``."""
        return bool(getattr(self, control.value))

    def limit(self, control: Control) -> float | None:
        """What ``control`` has to reach; None for one without a number."""
        key = CONTROLS[control].limit
        return float(getattr(self, key)) if key else None

    @property
    def plants(self) -> bool:
        """Whether a control that needs canaries is asked for."""
        return any(entry.planted and self.asks(entry.control) for entry in _ENTRIES)
