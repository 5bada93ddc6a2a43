"""Where a prior comes from, and whether it has seen the films of a cohort.

A film is known by a 255-bit perceptual hash (signs of the 16 x 16 lowest DCT frequencies of a 32 px thumbnail against
their median) and, while the images are at hand, by the thumbnail itself. 64 bits are too few here: chest films of
strangers collide at distances a one-pixel shift also reaches; docs/prior.md has the figures. A perceptual hash
outlines its image, so hashes are written to files for public data only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.storage import PriorFile
from reid_audit.errors import PriorError
from reid_audit.imaging.dct import dct
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.records import Overlap

THUMBNAIL, FREQUENCIES = 32, 16
HASH_DISTANCE = 40
"""Bits of 255 up to which two hashes are one film: strangers start at 54, a copy with noise of 0.03 ends at 40."""
NCC = 0.98
"""Correlation of thumbnails from which two films are one: strangers end at 0.968, re-encoded copies start at 0.989."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What is known of the films a prior was made from."""

    hashes: Tensor | None = None
    """[N, 4] int64, one row a film."""
    patients: frozenset[str] = frozenset()
    thumbnails: Tensor | None = None
    """[N, 1024] centred, unit length; in memory only."""
    public: bool = False
    """True only for public data: then hashes and patient ids may be written into the prior's file."""
    key: bytes = b""
    """Where it is given, ``patients`` holds HMACs of the ids under this key, not the ids."""

    def known(self, patients: Sequence[str]) -> set[str]:
        """Those of ``patients`` that the prior was made from."""
        if not self.key:
            return set(patients) & self.patients
        return {patient for patient in set(patients) if keyed_id(patient, self.key) in self.patients}


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """What whoever makes a prior or a predictor says of it, and of the images it is made from."""

    name: str
    """Its id, as its card and the reports show it."""
    data_sets: tuple[str, ...] = ()
    """Names of the data sets the images come from."""
    licence: str = ""
    """Licence of the data sets."""
    origin: Origin | None = None
    """The images themselves, as far as they may be remembered: without it no overlap with a cohort can be found."""


def keyed_id(patient: str, key: bytes) -> str:
    """HMAC-SHA-256 of a patient id. Without the key it cannot be enumerated, as a plain or salted hash can."""
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Contamination:
    """Whether a prior and a cohort share films or people, and how that was found."""

    overlap: Overlap
    films: int = 0
    """Films of the cohort that the prior has seen."""
    patients: int = 0
    """People of the cohort that the prior has seen."""
    evidence: tuple[Literal["films", "hashes", "patients"], ...] = ()
    """What could be compared; empty: nothing."""


def origin_of(images: Tensor, patients: Sequence[str] = (), *, public: bool = False) -> Origin:
    """What to remember of ``images`` [N, C, S, S] in [0, 1]; ``public`` allows it into files."""
    return Origin(perceptual_hashes(images), frozenset(patients), thumbnails(images), public)


def joined(before: Origin | None, now: Origin) -> Origin | None:
    """What is known of a prior trained on ``now`` from a prior of ``before``: both, or nothing where one is unknown."""
    if before is None or before.key or before.hashes is None or now.hashes is None:
        return None
    hashes = torch.cat([before.hashes, now.hashes])
    return Origin(hashes, before.patients | now.patients, public=before.public and now.public)


def check_overlap(origin: Origin | None, images: Stack, patients: Sequence[str] = ()) -> Contamination:
    """Compare a prior's origin with a cohort's films [N, C, S, S] in [0, 1] and its patient ids.

    "disjoint" says that no film is shared, and no person either where both cohorts give ids of one naming scheme.
    "unknown" says that the prior does not know its films. Hashes are asked only where the films are not at hand: on
    small or smooth images strangers' hashes come close.
    """
    if origin is None or (origin.hashes is None and origin.thumbnails is None and not origin.patients):
        return Contamination("unknown")
    seen = torch.zeros(len(images), dtype=torch.bool)
    evidence: list[Literal["films", "hashes", "patients"]] = []
    if origin.thumbnails is not None:
        seen = torch.cat([(thumbnails(p) @ origin.thumbnails.T >= NCC).any(1) for p in blocks(images)])
        evidence.append("films")
    elif origin.hashes is not None:
        near = (hamming(perceptual_hashes(p), origin.hashes) <= HASH_DISTANCE for p in blocks(images))
        seen = torch.cat([found.any(1) for found in near])
        evidence.append("hashes")
    if origin.patients and patients:
        evidence.append("patients")
    people = origin.known(patients)
    films = int(seen.sum())
    if len(patients) == len(images):
        people |= {patient for patient, hit in zip(patients, seen.tolist(), strict=True) if hit}
    if films or people:
        return Contamination("overlap", films, len(people), tuple(evidence))
    knows_films = origin.hashes is not None or origin.thumbnails is not None
    return Contamination("disjoint" if knows_films else "unknown", 0, 0, tuple(evidence))


def perceptual_hashes(images: Tensor) -> Tensor:
    """[N, C, S, S] in [0, 1] -> [N, 4] int64: 255 bits, packed; unchanged by brightness and contrast."""
    frequencies = dct(_shrunk(images))[:, :FREQUENCIES, :FREQUENCIES].flatten(1)[:, 1:]
    bits = (frequencies > frequencies.median(1, keepdim=True).values).long()
    padded = F.pad(bits, (0, 1)).view(len(images), 4, 64)
    return (padded << torch.arange(64)).sum(2)


def hamming(first: Tensor, second: Tensor) -> Tensor:
    """Differing bits between packed hashes: [N, 4] and [M, 4] -> [N, M]."""
    a, b = _bits(first), _bits(second)
    return (a @ (1 - b).T + (1 - a) @ b.T).round().long()


def _bits(packed: Tensor) -> Tensor:
    return ((packed.unsqueeze(2) >> torch.arange(64)) & 1).flatten(1).float()


def _shrunk(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.mean(1), THUMBNAIL)


def thumbnails(images: Tensor) -> Tensor:
    """[N, C, S, S] -> [N, 1024]: 32 px thumbnails, centred, of unit length; their products are correlations."""
    flat = _shrunk(images).flatten(1)
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)


def origin_entries(origin: Origin | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a public origin for a prior's file; nothing for any other."""
    if origin is None or not origin.public:
        return {}, {}
    tensors = {} if origin.hashes is None else {"origin.hashes": origin.hashes}
    return tensors, {"origin_patients": json.dumps(sorted(origin.patients))}


def read_origin(file: PriorFile) -> Origin | None:
    """The public origin in a prior's file, None where there is none. Raises PriorError where it is damaged."""
    hashes, patients = file.tensors.get("origin.hashes"), file.metadata.get("origin_patients")
    if hashes is None and patients is None:
        return None
    try:
        people = frozenset(str(patient) for patient in json.loads(patients or "[]"))
        fits = hashes is None or (hashes.dtype == torch.int64 and hashes.dim() == 2 and hashes.shape[1] == 4)
    except (TypeError, ValueError):
        people, fits = frozenset(), False
    if not fits:
        raise PriorError(
            "the prior file's record of its training films is damaged",
            closest="tensor origin.hashes, metadata origin_patients",
            remedy="write the prior again from its images",
        )
    return Origin(hashes, people, None, public=True)
