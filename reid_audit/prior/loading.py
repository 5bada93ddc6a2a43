"""A path, or a side, -> a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from reid_audit.artefacts.storage import read_prior_file
from reid_audit.prior.gaussian import load_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.layouts import load_foreign
from reid_audit.prior.pggan import load_pggan
from reid_audit.prior.resampling import prior_at

SHIPPED = {"gaussian": "gaussian-64.safetensors", "pggan": "pggan-64.safetensors"}
"""Packaged priors in ``reid_audit/prior/data``, all made from the public NIH ChestX-ray14."""


def load_prior(path: Path) -> Prior:
    """The prior in a safetensors file: ours by its metadata, a PGGAN of another implementation by its tensors.

    Raises PriorError with what was closest for any other file.
    """
    file = read_prior_file(path)
    if file.metadata.get("kind") == "gaussian":
        return load_gaussian(file)
    if file.metadata.get("kind") == "pggan":
        return load_pggan(file)
    return load_foreign(file, name=path.stem)


def shipped_prior(side: int | None, kind: Literal["gaussian", "pggan"] = "gaussian") -> Prior:
    """The packaged prior of ``kind``, resampled to ``side``; None: as it is stored."""
    prior = load_prior(Path(__file__).parent / "data" / SHIPPED[kind])
    return prior if side is None else prior_at(prior, side)
