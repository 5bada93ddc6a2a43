"""The ``[references]`` table: networks of the same kind whose training films are known, which membership is scored
against."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from reid_audit.records.base import Record


class GivenReference(Record):
    """A network of the audited architecture whose training patients are known, such as a fold of a cross-validation."""

    checkpoint: Path
    trained_on: str = ""
    """Who was in its training: a CSV with filter, such as ``folds.csv?fold=1,2,3,4``."""
    splits: Path | None = None
    """The same from nnU-Net's ``splits_final.json``, whose cases are named as the patients are."""
    fold: NonNegativeInt = 0

    @model_validator(mode="after")
    def _says_who(self) -> GivenReference:
        if bool(self.trained_on) == (self.splits is not None):
            raise ValueError("say who was in its training with trained_on, or with splits and fold")
        return self


class References(Record):
    """Whether reference models are trained, how many, and how."""

    when: Literal["required", "when-possible", "off"] = "when-possible"
    """``required``: a PASS needs them. ``when-possible``: as many as there is time for. ``off``: none."""
    count: PositiveInt = Field(default=2, le=64)
    """Reference models; each learns a random part of the pooled patients, at most half of them."""
    optimiser: Literal["adam", "sgd"] = "adam"
    rate: PositiveFloat | None = None
    """Learning rate. None: by the kind of network."""
    decay: NonNegativeFloat = 0.0
    """Weight decay."""
    batch: PositiveInt = 64
    augmentation: Literal["auto", "none", "moved"] = "auto"
    """``moved``: shifts, rotations, zooms, flips, brightness and contrast. ``auto``: as the network seems to have been
    trained, by how much more often it errs on the pooled films than it expects."""
    epochs: PositiveInt | None = Field(default=None, le=1000)
    """At most, None: by the kind of network; training ends earlier where a reference is as sure of the pooled films as
    the audited network is."""
    given: tuple[GivenReference, ...] = Field(default=(), max_length=64)
    """Networks that are there already; with any, none is trained."""
    stands_in: bool = True
    """Whether membership with references and its control met stand in for ``attack_power`` on a network without
    BatchNorm, on which no reconstruction is known to work: who can rebuild a film can recognise it."""


TaughtBy = Literal["labels", "answers"]
"""The manifest's labels, or the audited network's own answers where none are given."""


class ReferenceSummary(Record):
    """The reference models that membership was scored against."""

    count: PositiveInt
    taught_by: TaughtBy
    given: bool = False
    """Whether they were there already."""
    epochs: tuple[NonNegativeInt, ...] = ()
    """How long each was trained; 0 for one kept from an earlier audit."""
