"""What the attacker was given, what read age and sex, what compared films: where it comes from, how good it is."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from reid_audit.records.base import Record, Sha256

Overlap = Literal["disjoint", "overlap", "unknown"]
"""Whether what was learned elsewhere has seen films of an audit's cohorts."""


class PriorCard(Record):
    """Which prior the attacker was given, and on what it was trained."""

    id: str
    kind: Literal["gaussian", "pggan"]
    sha256: Sha256
    side: int
    channels: int = 1
    declared_training_sets: tuple[str, ...] = ()
    """Names of data sets, empty where the file says nothing."""
    images: int = 0
    patients: int = 0
    licence: str = ""
    overlap: Overlap = "unknown"


class PredictorCard(Record):
    """What read age and sex from images, and on what it was fitted."""

    id: str
    source: Literal["shipped", "given", "fitted"] = "fitted"
    """Packaged, from a file given with --demographics, or fitted in the audit on its prior's films."""
    sha256: Sha256
    side: int
    """Pixels at which it reads; images of other sides are resized."""
    declared_training_sets: tuple[str, ...] = ()
    images: int = 0
    patients: int = 0
    licence: str = ""
    measured_on: str = "cross-validation"
    """Films the figures below are about."""
    age_mae: FiniteFloat | None = None
    """Mean absolute error in years."""
    age_mae_base: FiniteFloat | None = None
    """The same when guessing the median."""
    sex_auc: FiniteFloat | None = None
    sex_accuracy: FiniteFloat | None = None
    overlap: Overlap = "unknown"
    """Whether it has seen films or people of the cohorts."""


class EncoderCard(Record):
    """The re-identification encoder that compared reconstructions with films."""

    sha256: Sha256
    architecture: str
    library: str = ""
    side: int
    """Pixels at which it sees films."""
    channels: int
    dimensions: int
    """Numbers of an embedding."""
    found: FiniteFloat | None = None
    """Share of degraded films whose nearest patient, by the encoder, is their own."""
    chance: FiniteFloat | None = None
    """The same by chance."""
