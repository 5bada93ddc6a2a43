"""The Cohort, its digest, and an order of films that no file name can change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.errors import CohortError
from reid_audit.records import CohortSummary


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Whose each film is, and what is known of that person."""

    patients: NDArray[np.str_]
    """[N] ids."""
    ages: NDArray[np.float64]
    """[N] years, NaN where unknown."""
    sexes: NDArray[np.str_]
    """[N] "M", "F" or ""."""
    strata: NDArray[np.str_] | None = None
    """[N] what the tests are stratified by; None: nothing."""
    labels: NDArray[np.str_] | None = None
    """[N] training labels; None: not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Films of one side, in one order, with who they belong to."""

    images: Tensor
    """[N, C, side, side] float32 in [0, 1], after the policy's resize and crop, before mean and std."""
    patients: NDArray[np.str_]
    """[N] patient id of each film (the file's place in its folder where no manifest gives one)."""
    ages: NDArray[np.float64]
    """[N] years, NaN where unknown."""
    sexes: NDArray[np.str_]
    """[N] "M", "F" or ""."""
    strata: NDArray[np.str_]
    """[N] one label per film made of the manifest's stratum columns, "" where there are none."""
    summary: CohortSummary
    labels: NDArray[np.str_]
    """[N] what the network was trained to say of each film, "" where no column was named."""
    known_patients: bool = True
    """False where nobody named the patients: each film counts as its own person, and ids mean nothing elsewhere."""
    notes: tuple[str, ...] = ()
    """What whoever gave the films should know: one line each, no names of files or patients."""
    unread: int = 0
    """Patients whose films there was no time to read."""

    def named_patients(self) -> list[str]:
        """[N] patient ids that mean something elsewhere; empty where nobody named the patients."""
        return self.patients.tolist() if self.known_patients else []

    def patient_index(self) -> NDArray[np.int64]:
        """[N] number of each film's patient, 0 for the first one met.

        Unlike sorting the ids, this numbering survives a renaming of files and patients.
        """
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(p, len(numbers)) for p in self.patients.tolist()], dtype=np.int64)


def assemble(
    images: Tensor,
    subjects: Subjects,
    *,
    role: Literal["reference", "holdout"],
    stratum_names: tuple[str, ...] = (),
    known_patients: bool = True,
) -> Cohort:
    """Put films into the order of their content and describe them.

    images: [N, C, side, side] float32 in [0, 1], **reordered in place**; what is known of the subjects is copied.
    The digest is a SHA-256 over the films' contents grouped by patient: names of files and patients do not enter it.
    Raises CohortError without films or where the lengths differ.
    """
    unnamed = np.full(len(images), "", dtype=np.str_)
    patients, ages, sexes = subjects.patients, subjects.ages, subjects.sexes
    groups = unnamed if subjects.strata is None else subjects.strata
    taught = unnamed if subjects.labels is None else subjects.labels
    if not len(images) or any(len(column) != len(images) for column in (patients, ages, sexes, groups, taught)):
        raise CohortError(
            f"{len(images)} films, {len(patients)} patient ids, {len(ages)} ages, {len(sexes)} sexes",
            closest="every film needs one entry in each",
            remedy="give arrays of equal length, at least one film",
        )
    films = [_film_digest(image) for image in images]
    people: dict[str, list[bytes]] = {}
    for patient, film in zip(patients.tolist(), films, strict=True):
        people.setdefault(patient, []).append(film)
    persons = {name: hashlib.sha256(b"".join(sorted(own))).digest() for name, own in people.items()}
    # Equal films are ordered by whose they are, then by what is known of them: still no names.
    keys = [
        (film, persons[patient], str(age), sex, *rest)
        for film, patient, age, sex, *rest in zip(
            films, patients.tolist(), ages.tolist(), sexes.tolist(), groups.tolist(), taught.tolist(), strict=True
        )
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    _reorder(images, order)
    digest = hashlib.sha256(repr(tuple(images.shape)).encode() + b"".join(sorted(persons.values()))).hexdigest()
    return Cohort(
        images=images,
        patients=patients[order],
        ages=ages[order],
        sexes=sexes[order],
        strata=groups[order],
        labels=taught[order],
        summary=CohortSummary(role=role, patients=len(people), images=len(images), digest=digest, strata=stratum_names),
        known_patients=known_patients,
    )


def _film_digest(image: Tensor) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image.numpy(), dtype="<f4").tobytes()).digest()


def _reorder(images: Tensor, order: list[int]) -> None:
    """images[i] <- images[order[i]] along the permutation's cycles: one film of extra memory."""
    done = [False] * len(order)
    for start in range(len(order)):
        if done[start] or order[start] == start:
            continue
        held, place = images[start].clone(), start
        while order[place] != start:
            images[place] = images[order[place]]
            done[place] = True
            place = order[place]
        images[place] = held
        done[place] = True
