"""What the audit was made with: the tool, the prior, the predictor, the encoder, reference models, cohorts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt

from reid_audit.records import Overlap, Role, Sha256, TaughtBy
from reid_audit.report.wire.base import Label, Tally, Wire


class PublicTool(Wire):
    """What ran the audit."""

    version: Label
    python: Label
    torch: Label
    device: Label
    deterministic: bool = False


class PublicPrior(Wire):
    """What the attacker was given to draw images from."""

    id: Label
    kind: Literal["gaussian", "pggan"]
    sha256: Sha256
    side: NonNegativeInt
    channels: NonNegativeInt
    declared_training_sets: tuple[Label, ...] = ()
    images: NonNegativeInt = 0
    patients: NonNegativeInt = 0
    licence: Label = ""
    overlap: Overlap


class PublicPredictor(Wire):
    """What read age and sex, and how well it reads films of people it had not seen."""

    id: Label
    source: Literal["shipped", "given", "fitted"]
    sha256: Sha256
    side: NonNegativeInt
    declared_training_sets: tuple[Label, ...] = ()
    images: NonNegativeInt = 0
    patients: NonNegativeInt = 0
    licence: Label = ""
    measured_on: Label = ""
    age_mae: FiniteFloat | None = None
    age_mae_base: FiniteFloat | None = None
    sex_auc: FiniteFloat | None = None
    sex_accuracy: FiniteFloat | None = None
    overlap: Overlap


class PublicEncoder(Wire):
    """The re-identification encoder that compared reconstructions with films."""

    sha256: Sha256
    architecture: Label
    library: Label = ""
    side: NonNegativeInt
    channels: NonNegativeInt
    dimensions: NonNegativeInt
    found: FiniteFloat | None = None
    """Share of degraded films whose nearest patient, by the encoder, is their own."""
    chance: FiniteFloat | None = None


class PublicReferences(Wire):
    """The reference models that membership was scored against."""

    count: NonNegativeInt
    taught_by: TaughtBy
    given: bool = False
    """Whether they were there already, such as the folds of a cross-validation."""
    epochs: Annotated[tuple[NonNegativeInt, ...], Field(max_length=64)] = ()
    """How long each was trained; 0 for one kept from an earlier audit."""


class PublicCohort(Wire):
    """How many people stood on one cohort. Its digest stays private: it would confirm a guessed member."""

    role: Role
    patients: NonNegativeInt
    images: NonNegativeInt
    strata: tuple[Label, ...] = ()
    known_patients: bool = True
    """False where nobody named the patients and each file counted as a person."""
    read_from: NonNegativeInt = 0
    """Number of files; 0 where the films came from none."""
    left_out: Tally = ()
    """Files or rows that hold no film of this cohort, by the reason."""
    grey_values: Annotated[tuple[Label, ...], Field(max_length=12)] = ()
    """How stored values became 0 to 1, one line for each kind of film."""
