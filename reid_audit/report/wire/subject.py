"""The file, its network, and how films became its input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt

from reid_audit.records import Fraction, Sha256
from reid_audit.report.wire.base import Label, Sentence, Table, Tally, Wire


class PublicCheckpoint(Wire):
    """The audited file; its name stays private."""

    sha256: Sha256
    format: Label
    bytes: NonNegativeInt
    tensors: NonNegativeInt
    parameters: NonNegativeInt
    dtypes: Tally = ()
    wrapper: Label = ""
    findings: tuple[Sentence, ...] = ()
    beside: tuple[Label, ...] = ()
    """Tensors of the file that are in no network, by name, the first of them; names that are not code's are hidden."""
    beside_count: NonNegativeInt = 0


class PublicCandidate(Wire):
    """A runner-up architecture."""

    name: Label
    library: Label
    key_coverage: Fraction


class PublicArchitecture(Wire):
    """Which network this is, with the evidence."""

    name: Label
    library: Label
    family: Label
    key_coverage: Fraction
    found_by: Literal["keys", "option", "factory"]
    candidates: tuple[PublicCandidate, ...] = ()
    missing_keys: NonNegativeInt = 0
    unexpected_keys: NonNegativeInt = 0
    normalisation: Tally = ()
    data_statistics: NonNegativeInt = 0
    head: Label
    classes: NonNegativeInt
    input: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    """Channels, height, width."""
    left_out: tuple[Label, ...] = ()
    """Tensors of its state_dict that it does not run, by name, the first of them."""
    left_out_count: NonNegativeInt = 0
    untouched_statistics: NonNegativeInt = 0
    """Running statistics that no training step has updated: not counted in ``data_statistics``."""
    input_by: Literal["weights", "default", "policy", "statistics"]


class PublicPreprocessFit(Wire):
    """A way from films to network input that was tried, and how far the network's first statistics are from it."""

    toml: Table
    """The ``[preprocess]`` table that declares it."""
    misfit: FiniteFloat
    augmentation: Label


class PublicPreprocess(Wire):
    """How films were turned into network input."""

    decided_by: Literal["policy", "statistics", "answers", "default"]
    resize_to: NonNegativeInt | None = None
    fitted_by: Literal["statistics", "answers"] | None = None
    """What was asked for the best preprocessing; None where nothing could be."""
    fitted_on: NonNegativeInt = 0
    """Films of both cohorts, pooled, that it was asked with."""
    best: Table = ""
    """The ``[preprocess]`` table that fits best."""
    tried: Annotated[tuple[PublicPreprocessFit, ...], Field(max_length=8)] = ()
    keep: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    """Left, top, right and bottom of the part of a film that is kept before it is resized, as shares of its width and
    height; None: the whole film."""
    resize: Label
    crop: Label
    interpolation: Label
    turn: Label = "none"
    """How the network saw films that are upright in the report."""
    per_film: Label = "none"
    """What was done to every film by itself before ``invert``, ``mean`` and ``std``."""
    mean: Annotated[tuple[FiniteFloat, ...], Field(max_length=4)]
    std: Annotated[tuple[FiniteFloat, ...], Field(max_length=4)]
    invert: bool
    scaling: Label | None = None
    """How stored grey values became 0 to 1, as the policy writes it; None: not declared."""
