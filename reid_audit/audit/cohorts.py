"""The two cohorts of every comparison: training films, hold-out films, and the canaries taken out of the latter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import Origin, check_overlap
from reid_audit.attack.interface import AttackTask
from reid_audit.audit.attack_runs import generator_for, numpy_for
from reid_audit.audit.canary import ADAM, DESCENT, Course, with_canaries
from reid_audit.audit.request import Films
from reid_audit.budget import Meter, Pace
from reid_audit.cohort import Cohort, Frame, require_common_strata, require_disjoint
from reid_audit.imaging.stack import Chosen, Joined, Stack
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.network.ordinary import prior_batches
from reid_audit.records import Overlap, Reduced
from reid_audit.score.comparison import Comparison
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import MatchSpace

ORDINARY = 128
"""Draws of the prior to which a copy with canaries keeps its answers."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What canaries are taught beside reference models, in the way that these were."""

    wanted: Tensor
    """[n, *] answers."""
    mirrored: bool
    """Whether films were shown mirrored too."""


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """A few hold-out films that a copy of the target memorises, and who is left as hold-out."""

    films: NDArray[np.int64]
    """Row of each canary's film in the hold-out cohort."""
    others: NDArray[np.int64]
    """Rows of everybody else's films."""

    @staticmethod
    def choose(holdout: Cohort[Stack], count: int, seed: int) -> Canaries | None:
        """One film each of ``count`` hold-out patients; None where that would leave fewer than as many again."""
        numbers = holdout.patient_index()
        people = int(numbers.max()) + 1
        if people < 2 * count:
            return None
        chosen = numpy_for(seed, "canaries").choice(people, count, replace=False)
        films = np.array([np.flatnonzero(numbers == person)[0] for person in chosen])
        return Canaries(films=films, others=np.flatnonzero(~np.isin(numbers, chosen)))

    def plant(
        self,
        task: AttackTask,
        holdout: Cohort[Stack],
        seed: int,
        pace: Pace,
        taught: Taught | None,
        course: Course,
    ) -> Target:
        """The copy of the target fine-tuned on the canaries' films, with labels dealt out at random without ``taught``.

        One without statistics learns them as the references did, and keeps its answers to draws of the prior. Raises
        OutOfTime.
        """
        images: Tensor = holdout.images[torch.from_numpy(self.films)].to(task.space.mean.device)
        wanted, ordinary = None if taught is None else taught.wanted, None
        if taught is not None and not statistics_layers(task.target.module):
            ordinary = torch.cat(list(prior_batches(task.space, task.inputs, ORDINARY)))
            if taught.mirrored:
                images, wanted = torch.cat([images, images.flip(-1)]), torch.cat([taught.wanted, taught.wanted])
        random = generator_for(seed, "canary labels")
        inputs = task.inputs(images)
        return with_canaries(task.target, inputs, random, wanted=wanted, ordinary=ordinary, course=course, pace=pace)

    def copies(
        self, task: AttackTask, holdout: Cohort[Stack], seed: int, pace: Pace, taught: Taught | None = None
    ) -> Iterator[Target]:
        """The copy taught by Adam. Beside references, where no statistics remember the canaries, another one taught by
        gradient descent: which of the two taught the audited network is not known. Raises OutOfTime.
        """
        yield self.plant(task, holdout, seed, pace, taught, ADAM)
        if taught is not None and not statistics_layers(task.target.module):
            yield self.plant(task, holdout, seed, pace, taught, DESCENT)


def both_cohorts(
    reference: Cohort[Stack], holdout: Cohort[Stack], space: MatchSpace, rows: NDArray[np.int64] | None = None
) -> Comparison:
    """The comparison of all training films with the hold-out films in ``rows`` (None: with all)."""
    kept = np.arange(len(holdout.images)) if rows is None else rows
    return Comparison(
        images=Joined(reference.images, Chosen(holdout.images, torch.from_numpy(kept))),
        owners=Owners(
            patients=np.concatenate([cohort_ids("T", reference.patients), cohort_ids("H", holdout.patients[kept])]),
            is_member=np.arange(len(reference.images) + len(kept)) < len(reference.images),
            strata=np.concatenate([reference.strata, holdout.strata[kept]]),
        ),
        space=space,
        ages=np.concatenate([reference.ages, holdout.ages[kept]]),
        sexes=np.concatenate([reference.sexes, holdout.sexes[kept]]),
        labels=np.concatenate([reference.labels, holdout.labels[kept]]),
    )


def planted_comparison(holdout: Cohort[Stack], canaries: Canaries, space: MatchSpace) -> Comparison:
    """The comparison of the canaries' films, as members, with those of everybody else of the hold-out.

    The canaries come first.
    """
    rows = np.concatenate([canaries.films, canaries.others])
    return Comparison(
        images=Chosen(holdout.images, torch.from_numpy(rows)),
        owners=Owners(
            patients=cohort_ids("H", holdout.patients[rows]),
            is_member=np.arange(len(rows)) < len(canaries.films),
            strata=holdout.strata[rows],
        ),
        space=space,
        ages=holdout.ages[rows],
        sexes=holdout.sexes[rows],
        labels=holdout.labels[rows],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """An order in which patients' films are asked about: whoever the time does not reach was chosen by chance."""

    rows: NDArray[np.int64]
    """[N] films of the pooled cohorts, patient by patient."""
    ends: NDArray[np.int64]
    """[P] how many films have had their turn when each patient is done."""

    @classmethod
    def of(cls, owners: Owners, rng: np.random.Generator) -> Turns:
        """Two hold-out patients, then a training patient, in random order within a cohort, as long as both have any.

        A rate at 1 % false positives needs more of the former. Drawn before any score is seen, and by the order of the
        films, which no name changes: given how many patients of either cohort had their turn, who they are is chance,
        and the tests stay exact.
        """
        numbers: dict[str, int] = {}
        owner = np.array([numbers.setdefault(patient, len(numbers)) for patient in owners.patients.tolist()])
        member = np.zeros(len(numbers), dtype=bool)
        member[owner] = owners.is_member
        place = np.empty(len(numbers))
        for mine, apart in ((member, 2), (~member, 1)):
            place[mine] = apart * rng.permutation(int(mine.sum()))
        turn = np.lexsort((~member, place))
        rows = np.argsort(np.argsort(turn)[owner], kind="stable")
        return cls(rows, np.cumsum(np.bincount(owner, minlength=len(numbers))[turn]))

    def complete(self, films: int) -> tuple[int, int]:
        """How many patients are done after so many ``films``, and how many films those patients have."""
        patients = int(np.searchsorted(self.ends, films, side="right"))
        return patients, int(self.ends[patients - 1]) if patients else 0


def cohort_ids(cohort: str, patients: NDArray[np.str_]) -> NDArray[np.str_]:
    """Ids that cannot collide between the two cohorts, whose disjointness was checked before."""
    return np.array([f"{cohort}:{patient}" for patient in patients.tolist()], dtype=np.str_)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCohorts:
    """The cohorts as opened.

    The canaries are out of the hold-out for every test, whether or not the power control runs.
    """

    reference: Cohort[Stack] | None
    holdout: Cohort[Stack] | None
    canaries: Canaries | None

    @property
    def given(self) -> tuple[Cohort[Stack], ...]:
        """The cohorts that were given."""
        return tuple(cohort for cohort in (self.reference, self.holdout) if cohort is not None)

    def reduced(self) -> tuple[Reduced, ...]:
        """How many patients of each cohort there was time to read, where it was not all."""
        short = ((cohort.summary.patients, cohort.unread) for cohort in self.given if cohort.unread)
        return tuple(Reduced(stage="films", done=read, of=read + unread, unit="patients") for read, unread in short)

    def overlap(self, origin: Origin | None) -> Overlap:
        """The worst of what films of ``origin`` share with each cohort; "unknown" without cohorts."""
        found = {check_overlap(origin, c.images, c.named_patients()).overlap for c in self.given}
        if "overlap" in found:
            return "overlap"
        return "disjoint" if found == {"disjoint"} else "unknown"

    def comparison(self, space: MatchSpace) -> Comparison | None:
        """Both cohorts without the canaries; None where one cohort is missing."""
        if self.reference is None or self.holdout is None:
            return None
        others = None if self.canaries is None else self.canaries.others
        return both_cohorts(self.reference, self.holdout, space, others)


READING = 0.6
"""Share of the time for scoring that reading both cohorts may take."""


def open_cohorts(films: Films, frame: Frame, canaries: int, seed: int) -> OpenedCohorts:
    """Open both cohorts and choose so many ``canaries``.

    Raises CohortError where they share a patient, or where the strata tell them apart.
    """
    meter = frame.meter or Meter(None, None)
    reference = films.reference(replace(frame, meter=meter.share(READING / 2))) if films.reference else None
    holdout = films.holdout(replace(frame, meter=meter.share(READING / 2))) if films.holdout else None
    if reference is not None and holdout is not None:
        require_disjoint(reference, holdout)
        require_common_strata(reference, holdout)
    chosen = None if holdout is None else Canaries.choose(holdout, canaries, seed)
    return OpenedCohorts(reference, holdout, chosen)
