"""The films of one cohort in numbers: patients, files, grey values, what was left out."""

from __future__ import annotations

from typing import Literal

from reid_audit.records.base import Record, Sha256
from reid_audit.records.preprocess import Scaling

Role = Literal["reference", "holdout"]
"""CohortName the network was trained on, and films of other patients."""
CohortName = Literal["reference", "holdout", "prior"]
"""These and the public ones."""
COHORTS: dict[CohortName, str] = {"reference": "training", "holdout": "hold-out", "prior": "prior"}
"""What they are called in sentences."""


class GreyValues(Record):
    """How stored values became 0 to 1 in films of one kind."""

    kind: Literal["8-bit", "integer", "float"]
    bits: int
    """Bits stored for one value."""
    scaling: Scaling | None
    """What was rendered; None: arrays of floats as the network saw them, mapped back by mean and std."""
    declared: bool
    """False where the policy says nothing that is about these films, and the documented default was rendered."""
    films: int

    def in_words(self) -> str:
        """One line such as ``16 films of 12 bits: what 12 bits hold becomes 0 to 1``."""
        films = f"{self.films} {'film' if self.films == 1 else 'films'} of {self.bits} bits"
        if self.scaling is None:
            return f"{films}: mapped back from what the network saw, by mean and std"
        if self.kind == "float" and self.scaling.by == "bits":
            return f"{films}, floating point: taken as 0 to 1"
        low, high = self.scaling.limits or (0.0, 0.0)
        ways = {
            "bits": f"what {self.bits} bits hold becomes 0 to 1",
            "range": f"{low:g} to {high:g} becomes 0 to 1",
            "window": "the file's window becomes 0 to 1",
            "minmax": "each film's own range becomes 0 to 1",
            "percentiles": f"each film's percentiles {low:g} to {high:g} become 0 to 1",
        }
        return f"{films}: {ways[self.scaling.by]}"

    @property
    def guessed(self) -> bool:
        """Whether another reading would have been as likely: whole numbers of more than 8 bits, nothing declared."""
        return not self.declared and self.kind == "integer"


class LeftOut(Record):
    """Files or rows of a source that hold no film of the cohort."""

    why: str
    """One fixed phrase."""
    count: int


class CohortSummary(Record):
    """How many people and films were used on one cohort."""

    role: Role
    patients: int
    images: int
    digest: Sha256
    strata: tuple[str, ...] = ()
    """Names of the columns the tests are stratified by."""
    known_patients: bool = True
    """False where nobody named the patients: each file counted as a person."""
    files: int = 0
    """Files the films were read from; 0 where they came from no file."""
    left_out: tuple[LeftOut, ...] = ()
    grey_values: tuple[GreyValues, ...] = ()
    """How stored values became 0 to 1, the most frequent way first."""
