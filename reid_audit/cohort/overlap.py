"""Do two cohorts share people? By patient id, and by films that are the same picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from reid_audit.cohort.assemble import Cohort
from reid_audit.errors import CohortError

_THUMB = 32
_SAME = 0.995
"""Correlation of 32 px thumbnails from which two films are one picture.

NIH ChestX-ray14 at 32 px: the most alike of 750,000 pairs of different people reach 0.970,
one film resized with another filter at least 0.997.
"""
_CHUNK = 1024


def overlap(a: Cohort, b: Cohort) -> int:
    """How many patients of ``a`` are also in ``b``.

    A patient counts by id (where both cohorts name their patients), or by a film that is identical or nearly so:
    normalised cross-correlation of 32 px thumbnails of at least 0.995.
    """
    shared = set(a.patients[_twins(a.images, b.images).numpy()].tolist())
    if a.known_patients and b.known_patients:
        shared |= set(a.patients.tolist()) & set(b.patients.tolist())
    return len(shared)


def require_disjoint(a: Cohort, b: Cohort) -> None:
    """Raise CohortError where ``a`` and ``b`` share a patient."""
    shared = overlap(a, b)
    if shared:
        raise CohortError(
            f"{shared} patients are in both the {a.summary.role} and the {b.summary.role} images",
            closest=f"{a.summary.patients} and {b.summary.patients} patients, compared by id and by picture",
            remedy="split by patient: whoever is among the training images may not be in the hold-out",
        )


def _twins(a: Tensor, b: Tensor) -> Tensor:
    """[N_a] bool: whether each film of ``a`` has a near-identical one in ``b``."""
    left, right = _thumbnails(a), _thumbnails(b)
    return torch.cat([(part @ right.T).amax(1) >= _SAME for part in torch.split(left, _CHUNK)])


def _thumbnails(images: Tensor) -> Tensor:
    """[N, pixels] grey, mean 0, norm 1."""
    side = min(_THUMB, images.shape[-1])
    flat = adaptive_avg_pool2d(images.mean(1, keepdim=True), side).flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return unit
