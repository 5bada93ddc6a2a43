"""Types every part of the public document is made of: short texts, short lists, counts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from reid_audit.records import Sha256

MAX_POINTS = 101
"""No list of numbers in a report is longer: too short for pixels, latents or one score per patient of a cohort."""
Label = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
Table = Annotated[str, StringConstraints(max_length=400, pattern=r'^[\w\[\]{}=",.\-+% \n]*$')]
"""A ``[preprocess]`` table of numbers and the policy's own words."""
Sentence = Annotated[str, StringConstraints(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]
Points = Annotated[tuple[FiniteFloat, ...], Field(max_length=MAX_POINTS)]


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else value


Tally = Annotated[
    tuple[tuple[Label, NonNegativeInt], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, int]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}),
]
"""(name, count) pairs; a JSON object in the document."""
Digests = Annotated[
    tuple[tuple[Label, Sha256], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}),
]
"""(name, SHA-256) pairs; a JSON object in the document."""


class Wire(BaseModel):
    """Frozen; fields a newer version added are dropped on reading."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
