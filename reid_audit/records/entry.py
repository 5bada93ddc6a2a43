"""What the table of metrics says of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from reid_audit.records.gates import Direction, Gate
from reid_audit.records.metrics import Metric

Unit = Literal["share", "p", "count", "score", "years", "bits"]


class Family(StrEnum):
    """What a metric is evidence of."""

    LINKAGE = "linkage"
    """Reconstructions beside the patients of both cohorts."""
    LIKELY = "likely"
    """Likely samples beside their nearest films."""
    MEMBERSHIP = "membership"
    """Films of both cohorts under the weights."""
    AGREEMENT = "agreement"
    """Reconstructions beside each other."""
    CONTROL = "control"
    """Whether the instruments were sharp."""
    DISTRIBUTION = "distribution"
    """How the images moved."""
    DEMOGRAPHICS = "demographics"
    """Age and sex read from images."""


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One metric."""

    metric: Metric
    label: str
    meaning: str
    """What the number says where training and hold-out films were given, as one sentence."""
    unit: Unit
    family: Family
    without_films: str = ""
    """What it says where they were not, if that is something else."""
    direction: Direction = Direction.HIGHER
    """Which way it becomes riskier."""
    control: bool = True
    """Whether a measured value comes with its control, so that an excess can be judged."""
    compares_reconstructions: bool = False
    """Whether it compares reconstructions with films: it means nothing where the prior has seen the films."""
    gate: Gate | None = None
    """The default thresholds; docs/policy.md gives the reason for each."""
    always_needed: bool = False
    """Whether a PASS needs it whatever gates the policy names."""
    none_is_clear: bool = False
    """Whether a value within ``clear`` supports a PASS even where the number is an indicator."""
    fewest: tuple[int, int] = (0, 0)
    """Fewest training and hold-out patients with which it is measured."""
    rate: bool = False
    """Whether it is a share of training patients found at 1 % false alarms, whose interval is narrow only with many."""
    measured_by: str = ""
    """``module:function`` in score/ that measures this metric and no other (score/alone.py); empty for the metrics that
    one test measures together."""

    @property
    def page(self) -> str:
        """Its page, from the repository's root."""
        return f"docs/metrics/{self.metric.value}.md"

    def sentence(self, *, films: bool) -> str:
        """What the number says, with or without films of both cohorts."""
        return self.meaning if films or not self.without_films else self.without_films
