"""Films -> patients: every patient gets the same number of chances to match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_audit.errors import CohortError

Floats = NDArray[np.float64]
CLASS_MINIMUM = 20
"""Patients each cohort must have in a film class; smaller classes join the next smaller one."""


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Whose each of N images is."""

    patients: NDArray[np.str_]
    """[N] patient ids."""
    is_member: NDArray[np.bool_]
    """[N] True for images of training patients."""
    strata: NDArray[np.str_] | None = None
    """[N] stratum within which labels may be permuted; None: one."""

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Owners:
        """The owners of some of the images."""
        return Owners(self.patients[rows], self.is_member[rows], None if self.strata is None else self.strata[rows])


def mean_by_patient(values: Floats, owners: Owners, *, members: bool) -> Floats:
    """[P] mean of ``values`` [N] over the films of each patient of one cohort, by patient id."""
    here = owners.is_member == members
    _, numbers = np.unique(owners.patients[here], return_inverse=True)
    return np.asarray(np.bincount(numbers.reshape(-1), values[here]) / np.bincount(numbers.reshape(-1)))


def evidence_by_patient(scores: Floats, patients: NDArray[np.str_], ids: NDArray[np.str_]) -> Floats:
    """[P] evidence of all films of each patient in ``ids``, from scores [N] that add up and are 0 in the mean.

    The sum of n scores over its deviation, sqrt(n (1 + (n - 1) rho)) in those of one film: what films say of a patient
    grows faster with their number than the noise does, and patients with one film and with many can be compared. rho is
    the intraclass correlation of a patient's scores, estimated from all, whatever their cohort.
    """
    place = {patient: number for number, patient in enumerate(ids.tolist())}
    owner = np.array([place.get(patient, -1) for patient in patients.tolist()])
    values, owner = scores[owner >= 0], owner[owner >= 0]
    counts = np.bincount(owner, minlength=ids.size)
    total = np.bincount(owner, values, minlength=ids.size)
    noise = counts * (1.0 + (counts - 1) * intraclass(values, owner, counts))
    return np.asarray(total / np.sqrt(np.maximum(noise, 1.0)))


def intraclass(values: Floats, owner: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Share of the variance of ``values`` [N] that lies between their owners, of those with several; 0 to 1."""
    several = counts > 1
    free, spread = int((counts[several] - 1).sum()), float(values.var())
    if not free or spread <= 0:
        return 0.0
    means = np.bincount(owner, values, minlength=counts.size) / np.maximum(counts, 1)
    within = float((((values - means[owner]) ** 2)[several[owner]]).sum()) / free
    return min(1.0, max(0.0, 1.0 - within / spread))


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Training and hold-out patients, pooled, in an order that depends on content and not on names."""

    ids: NDArray[np.str_]
    """[P] patient ids."""
    is_member: NDArray[np.bool_]
    """[P] True for training patients."""
    films: NDArray[np.int64]
    """[M] columns of the drawn films, grouped by patient."""
    starts: NDArray[np.int64]
    """[P] where each patient's films begin in ``films``."""
    classes: NDArray[np.int64]
    """[P] film class: patients of one class contribute equally many films."""
    strata: NDArray[np.int64]
    """[P] stratum for label permutation: film class crossed with the given strata."""

    @property
    def members(self) -> int:
        """n_T, training patients."""
        return int(self.is_member.sum())

    @property
    def others(self) -> int:
        """n_H, hold-out patients."""
        return int((~self.is_member).sum())

    def by_patient(self, scores: Floats) -> Floats:
        """Per-film scores [..., N] -> per-patient maximum over the drawn films [..., P]."""
        return np.asarray(np.maximum.reduceat(scores[..., self.films], self.starts, axis=-1))

    def levelled(self, values: Floats) -> Floats:
        """[P] values with each film class brought to the pooled median and quartile range, blind to membership."""
        result = np.empty(values.shape, dtype=np.float64)
        for label in np.unique(self.classes):
            here = self.classes == label
            low, middle, high = np.quantile(values[here], (0.25, 0.5, 0.75))
            result[here] = (values[here] - middle) / max(high - low, 1e-12)
        return result


def drawn_from_each(is_member: NDArray[np.bool_], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of at most ``most`` patients [P], in their order: half of them members, or all of the smaller cohort.

    Which of a cohort they are is chance, so that given how many there are of each, who is a member stays exchangeable,
    and a permutation test on them is as exact as on all. All rows where there are no more.
    """
    if is_member.size <= most:
        return np.arange(is_member.size)
    groups = [np.flatnonzero(is_member), np.flatnonzero(~is_member)]
    least = min(min(map(len, groups)), most // 2)
    taken = [
        rng.permutation(group)[: least if len(group) == min(map(len, groups)) else most - least] for group in groups
    ]
    return np.sort(np.concatenate(taken))


def pool(owners: Owners, content: Floats, rng: np.random.Generator, *, most: int | None = None) -> Pool:
    """Group films by patient and draw the same number from every patient of a film class.

    Film classes are 1, 2-3, 4-7, ... films; a patient of a class contributes its smallest count, drawn by ``rng``.
    Classes with fewer than ``CLASS_MINIMUM`` patients in either cohort join the next smaller class.

    content: [K, N] or [N] numbers computed from the films; they define the
    order, so that renaming files or patients changes nothing. most: films a patient contributes at most.
    Raises CohortError where a patient is in both cohorts.
    """
    patients, is_member, strata = owners.patients, owners.is_member, owners.strata
    columns = np.atleast_2d(content)
    order = np.lexsort(np.vstack([columns.sum(axis=0), columns.max(axis=0)]))
    _, first, codes = np.unique(patients[order], return_index=True, return_inverse=True)
    by_content = np.argsort(np.argsort(first))[codes.reshape(-1)]
    grouped = np.argsort(by_content, kind="stable")
    films, owner = order[grouped], by_content[grouped]
    starts = np.flatnonzero(np.r_[True, np.diff(owner) > 0])
    counts = np.diff(np.r_[starts, films.size])
    of_member = is_member[films]
    if np.any(np.maximum.reduceat(of_member, starts) != np.minimum.reduceat(of_member, starts)):
        raise CohortError(
            "a patient is among the training and the hold-out films",
            closest="every comparison assumes that no patient is in both cohorts",
            remedy="split by patient, or drop the shared patients from the hold-out",
        )
    members = of_member[starts]
    takes = _films_per_class(counts, members)
    if most is not None:
        takes = np.minimum(takes, most)
    keep = np.concatenate(
        [
            start + np.sort(rng.permutation(count)[:take])
            for start, count, take in zip(starts, counts, takes, strict=True)
        ]
    )
    given = np.zeros(starts.size, dtype=np.int64)
    if strata is not None:
        given = np.unique(strata[films][starts], return_inverse=True)[1].reshape(-1)
    classes = np.unique(takes, return_inverse=True)[1].reshape(-1)
    return Pool(
        ids=patients[films][starts],
        is_member=members,
        films=films[keep],
        starts=np.r_[0, np.cumsum(takes)[:-1]],
        classes=classes,
        strata=classes * (int(given.max()) + 1) + given,
    )


def _films_per_class(counts: NDArray[np.int64], members: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[P] films each patient contributes: the power of two below its count, lowered while its class is too small."""
    takes = 2 ** np.floor(np.log2(counts)).astype(np.int64)
    take = int(takes.max())
    while take > 1:
        here = takes == take
        if min((here & members).sum(), (here & ~members).sum()) < CLASS_MINIMUM:
            takes[here] = take // 2
        take //= 2
    return np.asarray(takes, dtype=np.int64)
