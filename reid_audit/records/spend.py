"""What the work took, and what a time budget made smaller."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from reid_audit.records.base import Record


class StoppedBy(StrEnum):
    """Why an attack run ended."""

    COMPLETE = "complete"
    STEPS = "steps"
    SECONDS = "seconds"


class Spend(Record):
    """Seconds and steps used, and why the work stopped."""

    seconds: float
    steps: int
    stopped_by: StoppedBy


ReducedStage = Literal["films", "metric", "attack", "references", "membership", "batch_correction", "attack_power"]


class Reduced(Record):
    """Something that was made smaller, or left out, to fit the time budget."""

    stage: ReducedStage
    done: NonNegativeInt
    """How much of it was done; 0: left out."""
    of: PositiveInt
    unit: Literal["patients", "images", "steps", "passes", "runs", "models"]
