"""The two sides of every comparison: training films, hold-out films, and the canaries taken out of the latter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import Origin, Overlap, check_overlap
from reid_audit.attack.interface import AttackTask
from reid_audit.audit.attack_runs import generator_for, numpy_for
from reid_audit.audit.canary import with_canaries
from reid_audit.audit.request import AuditRequest, Films, Frame
from reid_audit.cohort import Cohort, require_disjoint
from reid_audit.score.calibration import Bools


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """A few hold-out films, the copy of the target that memorised them, and who is left as hold-out."""

    films: NDArray[np.int64]
    """Row of each canary's film in the hold-out cohort."""
    others: NDArray[np.int64]
    """Rows of everybody else's films."""

    @staticmethod
    def choose(holdout: Cohort, count: int, seed: int) -> Canaries | None:
        """One film each of ``count`` hold-out patients; None where that would leave fewer than as many again."""
        numbers = holdout.patient_index()
        people = int(numbers.max()) + 1
        if people < 2 * count:
            return None
        chosen = numpy_for(seed, "canaries").choice(people, count, replace=False)
        films = np.array([np.flatnonzero(numbers == person)[0] for person in chosen])
        return Canaries(films=films, others=np.flatnonzero(~np.isin(numbers, chosen)))

    def plant(self, task: AttackTask, holdout: Cohort, seed: int) -> Target:
        """The copy of the target fine-tuned on the canaries' films."""
        films: Tensor = holdout.images[torch.from_numpy(self.films)].to(task.space.mean.device)
        return with_canaries(task.target, task.inputs(films), generator_for(seed, "canary labels"))


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """Films of both sides in one order."""

    films: Tensor
    patients: NDArray[np.str_]
    is_member: Bools
    strata: NDArray[np.str_]
    ages: NDArray[np.float64]
    """[N] years, NaN where unknown."""
    sexes: NDArray[np.str_]
    """[N] "M", "F" or ""."""
    labels: NDArray[np.str_]
    """[N] training labels, "" where unknown."""

    @staticmethod
    def of(reference: Cohort, holdout: Cohort, rows: NDArray[np.int64] | None = None) -> Pooled:
        """Training films and the hold-out films in ``rows`` (None: all)."""
        kept = np.arange(len(holdout.images)) if rows is None else rows
        return Pooled(
            films=torch.cat([reference.images, holdout.images[torch.from_numpy(kept)]]),
            patients=np.concatenate([side_ids("T", reference.patients), side_ids("H", holdout.patients[kept])]),
            is_member=np.arange(len(reference.images) + len(kept)) < len(reference.images),
            strata=np.concatenate([reference.strata, holdout.strata[kept]]),
            ages=np.concatenate([reference.ages, holdout.ages[kept]]),
            sexes=np.concatenate([reference.sexes, holdout.sexes[kept]]),
            labels=np.concatenate([reference.labels, holdout.labels[kept]]),
        )

    @staticmethod
    def canaries(holdout: Cohort, canaries: Canaries) -> Pooled:
        """Canaries' films as members, everybody else of the hold-out as non-members."""
        rows = np.concatenate([canaries.films, canaries.others])
        return Pooled(
            films=holdout.images[torch.from_numpy(rows)],
            patients=side_ids("H", holdout.patients[rows]),
            is_member=np.arange(len(rows)) < len(canaries.films),
            strata=holdout.strata[rows],
            ages=holdout.ages[rows],
            sexes=holdout.sexes[rows],
            labels=holdout.labels[rows],
        )


def side_ids(side: str, patients: NDArray[np.str_]) -> NDArray[np.str_]:
    """Ids that cannot collide between the two sides, whose disjointness was checked before."""
    return np.array([f"{side}:{patient}" for patient in patients.tolist()], dtype=np.str_)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCohorts:
    """The cohorts as opened.

    The canaries are out of the hold-out for every test, whether or not the power control runs.
    """

    reference: Cohort | None
    holdout: Cohort | None
    canaries: Canaries | None

    @property
    def given(self) -> tuple[Cohort, ...]:
        """The cohorts that were given."""
        return tuple(cohort for cohort in (self.reference, self.holdout) if cohort is not None)

    def overlap(self, origin: Origin | None) -> Overlap:
        """The worst of what films of ``origin`` share with each cohort; "unknown" without cohorts."""
        found = {check_overlap(origin, c.images, c.named_patients()).overlap for c in self.given}
        if "overlap" in found:
            return "overlap"
        return "disjoint" if found == {"disjoint"} else "unknown"

    def pooled(self) -> Pooled | None:
        """Both sides without the canaries; None where one side is missing."""
        if self.reference is None or self.holdout is None:
            return None
        return Pooled.of(self.reference, self.holdout, None if self.canaries is None else self.canaries.others)


def open_cohorts(films: Films, frame: Frame, request: AuditRequest) -> OpenedCohorts:
    """Open both cohorts. Raises CohortError where they share a patient."""
    reference = films.reference(frame) if films.reference else None
    holdout = films.holdout(frame) if films.holdout else None
    if reference is not None and holdout is not None:
        require_disjoint(reference, holdout)
    count = request.policy.controls.canaries
    canaries = None if holdout is None else Canaries.choose(holdout, count, request.seed)
    return OpenedCohorts(reference, holdout, canaries)
