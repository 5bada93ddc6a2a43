"""Do two cohorts share people? By patient id, and by films that are the same picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from reid_audit.cohort.assemble import Cohort
from reid_audit.cohort.cells import spelling
from reid_audit.errors import CohortError
from reid_audit.imaging.stack import Stack, blocks

THUMB = 32
_SAME = 0.995
"""Correlation of 32 px thumbnails from which two films are one picture.

NIH ChestX-ray14 at 32 px: the most alike of 750,000 pairs of different people reach 0.970,
one film resized with another filter at least 0.997.
"""
_CHUNK = 1024


def overlap(a: Cohort[Stack], b: Cohort[Stack]) -> int:
    """How many patients of ``a`` are also in ``b``.

    A patient counts by id (where both cohorts name their patients), by an id that is the same but for its spelling
    (``7``, ``7.0`` and ``0007``), or by a film that is identical or nearly so: normalised cross-correlation of 32 px
    thumbnails of at least 0.995.
    """
    shared = set(a.patients[_twins(a.images, b.images).numpy()].tolist())
    if a.known_patients and b.known_patients:
        others = {spelling(name) for name in b.patients.tolist()}
        shared |= {name for name in a.patients.tolist() if spelling(name) in others}
    return len(shared)


def require_disjoint(a: Cohort[Stack], b: Cohort[Stack]) -> None:
    """Raise CohortError where ``a`` and ``b`` share a patient."""
    shared = overlap(a, b)
    if shared:
        raise CohortError(
            f"{shared} patients are in both the {a.summary.role} and the {b.summary.role} images",
            closest=f"{a.summary.patients} and {b.summary.patients} patients, compared by id and by picture",
            remedy="split by patient: whoever is among the training images may not be in the hold-out",
        )


def pairs_alike(left: Tensor, right: Tensor) -> Iterator[tuple[int, int]]:
    """Rows of ``left`` and ``right`` ([N, pixels], mean 0, norm 1) that are one picture."""
    for start in range(0, len(left), _CHUNK):
        found = (left[start : start + _CHUNK] @ right.T >= _SAME).nonzero()
        yield from ((start + i, j) for i, j in found.tolist())


def _twins(a: Stack, b: Stack) -> Tensor:
    """[N_a] bool: whether each film of ``a`` has a near-identical one in ``b``."""
    twins = torch.zeros(len(a), dtype=torch.bool)
    twins[[i for i, _ in pairs_alike(_thumbnails(a), _thumbnails(b))]] = True
    return twins


def _thumbnails(images: Stack) -> Tensor:
    """[N, pixels] grey, mean 0, norm 1."""
    side = min(THUMB, images.shape[-1])
    flat = torch.cat([adaptive_avg_pool2d(p.mean(1, keepdim=True), side).flatten(1) for p in blocks(images)])
    centred = flat - flat.mean(1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return unit
