"""Films of a folder with splits, their labels, and small cohorts drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reid_audit.cohort import Cohort, Frame, Source, Subjects, assemble, load_cohort
from reid_audit.preprocess import HALF, to_network

SPEC = HALF
"""Preprocessing of every benchmark target: [0, 1] scaled to [-1, 1]."""
SPLITS: tuple[tuple[str, Literal["reference", "holdout"]], ...] = (
    ("target", "reference"),
    ("holdout", "holdout"),
    ("prior", "reference"),
)


def splits(data: Path, side: int) -> tuple[Cohort, Cohort, Cohort]:
    """The films to train on, those of other patients, and those of the prior; at one side."""
    target, holdout, prior = (
        load_cohort(Source(data, {"split": split}), Frame(SPEC, side), role) for split, role in SPLITS
    )
    return target, holdout, prior


def sex_labels(cohort: Cohort) -> torch.Tensor:
    """[N] int64: 1 for M."""
    return torch.from_numpy((cohort.sexes == "M").astype(np.int64))


def few(cohort: Cohort, patients: int, seed: int) -> Cohort:
    """One film each of ``patients`` people, half of them men."""
    numbers = cohort.patient_index()
    _, first = np.unique(numbers, return_index=True)
    order = np.random.default_rng(seed).permutation(first)
    rows = np.concatenate([order[cohort.sexes[order] == sex][: patients // 2] for sex in ("F", "M")])
    people = Subjects(cohort.patients[rows], cohort.ages[rows], cohort.sexes[rows])
    return assemble(cohort.images[torch.from_numpy(rows)], people, role="reference")


def accuracy(module: torch.nn.Module, cohort: Cohort) -> float:
    """Share of films whose sex the network reads correctly."""
    with torch.no_grad():
        parts = [module(to_network(part, SPEC, 3)).argmax(1) for part in torch.split(cohort.images, 128)]
    return float((torch.cat(parts) == sex_labels(cohort)).float().mean())


def films(data: Path, split: str, side: int) -> tuple[Tensor, list[str]]:
    """Films of one split, [N, 1, side, side] in [0, 1], read as an audit reads them, and their patient ids."""
    read = load_cohort(Source(data, {"split": split}), Frame(SPEC, side), "reference")
    return read.images, read.patients.tolist()
