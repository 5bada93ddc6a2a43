"""What every record shares: frozen, no unknown fields, finite numbers, tuples inside."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, StringConstraints

Fraction = Annotated[FiniteFloat, AfterValidator(lambda v: _inside_unit(v))]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A value that crosses layers. Immutable; containers inside are tuples."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _inside_unit(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError("must lie between 0 and 1")
    return value
