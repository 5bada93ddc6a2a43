"""Tests that measure one metric each: the table of metrics names them, and an audit runs all that stand there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from torch import Tensor

from reid_audit.records import METRICS, Measurement, Metric
from reid_audit.score.comparison import Comparison, Samples


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images that no patient's film is among."""

    made: Samples
    """The attack's reconstructions; none where there was no time for any."""
    control: Samples
    """The same of the attack without target information."""
    prior: Tensor
    """[M, C, H, W] in [0, 1]: what the prior was fitted on."""


class Test(Protocol):
    """A test of one metric: whose films the images resemble, or whether that could be seen."""

    def __call__(self, comparison: Comparison, images: Images, rng: np.random.Generator) -> Measurement:
        """The metric, with its control beside the value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The test of a metric, imported when it first runs."""

    metric: Metric
    place: str
    """``module:function`` in this package."""

    @property
    def name(self) -> str:
        """What its stage is called, and its random numbers drawn for."""
        return self.place.partition(":")[0].replace("_", " ")

    def __call__(self, comparison: Comparison, images: Images, rng: np.random.Generator) -> Measurement:
        module, _, name = self.place.partition(":")
        test: Test = getattr(import_module(f"{__package__}.{module}"), name)
        return test(comparison, images, rng)


ALONE = tuple(Entry(metric, entry.measured_by) for metric, entry in METRICS.items() if entry.measured_by)
"""Every such test, in the order of the table."""
