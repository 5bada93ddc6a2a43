"""What was asked for: budget, options, seed, what the policy declares for the reader."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt

from reid_audit.records import ReducedStage, StoppedBy
from reid_audit.report.wire.base import Label, Wire


class PublicReduced(Wire):
    """Something that was made smaller, or left out (``done`` 0), to fit the time budget."""

    stage: ReducedStage
    done: NonNegativeInt
    of: NonNegativeInt
    unit: Literal["patients", "images", "steps", "passes", "runs", "models"]


class PublicBudget(Wire):
    """Ceilings and what was used of them."""

    seconds: FiniteFloat | None = None
    spent_seconds: FiniteFloat
    steps: NonNegativeInt
    spent_steps: NonNegativeInt
    stopped_by: StoppedBy
    particles: Annotated[tuple[NonNegativeInt, ...], Field(max_length=16)] = ()
    reduced: Annotated[tuple[PublicReduced, ...], Field(max_length=16)] = ()


class PublicOption(Wire):
    """An option of the command that was not at its default; "" for a flag without a value."""

    flag: Label
    value: Label = ""


class PublicDeclared(Wire):
    """What the policy's ``[report]`` table says for the reader; nothing of it was checked."""

    model: Label = ""
    weights: Label = ""
    controller: Label = ""
    purpose: Label = ""
    training_data: Label = ""
    holdout_data: Label = ""
    auditor: Label = ""
    sign_off: Annotated[tuple[Label, ...], Field(max_length=6)] = ()


class Seeds(Wire):
    """Everything random follows from these."""

    master: int
