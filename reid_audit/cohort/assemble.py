"""The Cohort, its digest, and an order of films that no file name can change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import TypeVar

from reid_audit.cohort.rendered import film_digest
from reid_audit.errors import CohortError
from reid_audit.imaging.stack import Stack
from reid_audit.records import CohortSummary, Role

Films = TypeVar("Films", bound=Stack, covariant=True, default=Tensor)
"""How a cohort's films are held: a tensor where nothing else is said."""


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
class Cohort(Generic[Films]):
    """Training, hold-out or public films in one order, with who they belong to."""

    images: Films
    """[N, C, side, side] float32 in [0, 1], after the policy's resize and crop, before mean and std; in memory or on
    disk."""
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
    role: Role,
    stratum_names: tuple[str, ...] = (),
    known_patients: bool = True,
) -> Cohort:
    """Films in memory, put into the order of their content and described, as ``arranged``.

    images: [N, C, side, side] float32 in [0, 1], **reordered in place**.
    """
    digests = [film_digest(image.numpy()) for image in images]
    said = Said(role, stratum_names, known_patients)
    return arranged(digests, tuple(images.shape[1:]), partial(in_order, images), subjects, said)


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of a cohort as a whole."""

    role: Role
    stratum_names: tuple[str, ...] = ()
    known_patients: bool = True


def arranged(
    digests: Sequence[bytes],
    one: tuple[int, ...],
    arrange: Callable[[list[int]], Films],
    subjects: Subjects,
    said: Said,
) -> Cohort[Films]:
    """Films in the order of their content, with what is known of them, which is copied.

    digests: of every film (``film_digest``). one: their shape [C, side, side]. arrange: gives the films in the order of
    the rows it is asked for. The cohort's digest is a SHA-256 over the films' contents grouped by patient: names of
    files and patients do not enter it. Raises CohortError without films or where the lengths differ.
    """
    unnamed = np.full(len(digests), "", dtype=np.str_)
    patients, ages, sexes = subjects.patients, subjects.ages, subjects.sexes
    groups = unnamed if subjects.strata is None else subjects.strata
    taught = unnamed if subjects.labels is None else subjects.labels
    if not len(digests) or any(len(column) != len(digests) for column in (patients, ages, sexes, groups, taught)):
        raise CohortError(
            f"{len(digests)} films, {len(patients)} patient ids, {len(ages)} ages, {len(sexes)} sexes",
            closest="every film needs one entry in each",
            remedy="give arrays of equal length, at least one film",
        )
    people: dict[str, list[bytes]] = {}
    for patient, film in zip(patients.tolist(), digests, strict=True):
        people.setdefault(patient, []).append(film)
    persons = {name: hashlib.sha256(b"".join(sorted(own))).digest() for name, own in people.items()}
    # Equal films are ordered by whose they are, then by what is known of them: still no names.
    keys = [
        (film, persons[patient], str(age), sex, *rest)
        for film, patient, age, sex, *rest in zip(
            digests, patients.tolist(), ages.tolist(), sexes.tolist(), groups.tolist(), taught.tolist(), strict=True
        )
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    shape = (len(digests), *one)
    digest = hashlib.sha256(repr(shape).encode() + b"".join(sorted(persons.values()))).hexdigest()
    return Cohort(
        images=arrange(order),
        patients=patients[order],
        ages=ages[order],
        sexes=sexes[order],
        strata=groups[order],
        labels=taught[order],
        summary=CohortSummary(
            role=said.role, patients=len(people), images=len(digests), digest=digest, strata=said.stratum_names
        ),
        known_patients=said.known_patients,
    )


def in_order(images: Tensor, order: list[int]) -> Tensor:
    """``images`` reordered in place."""
    _reorder(images, order)
    return images


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
