"""What two surveyed cohorts have in common: patients by id, by another spelling of it, and by picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from reid_audit.cohort.cells import spelling
from reid_audit.cohort.overlap import pairs_alike
from reid_audit.cohort.survey import CohortSurvey
from reid_audit.errors import CohortError


@dataclass(frozen=True, slots=True)
class Shared:
    """What two cohorts have in common. The ids are for ``restricted/`` alone."""

    ids: tuple[str, ...]
    """Ids that occur in both cohorts, sorted."""
    respelt: tuple[tuple[str, str], ...]
    """Ids that would be the same but for spelling (7, 7.0 and 0007; p7 and P7), as each cohort writes them."""
    pictures: tuple[tuple[str, str], ...]
    """Patients of either cohort who share a picture under two ids."""
    known: bool
    """False where a cohort names no patients: only pictures could be compared."""

    @property
    def patients(self) -> int:
        """Patients of the first cohort who are, or may be, in the second too."""
        return len({*self.ids, *(a for a, _ in self.respelt), *(a for a, _ in self.pictures)})

    def refuse(self) -> None:
        """Raise CohortError with counts where the cohorts have somebody in common. No id is in its text."""
        if self.patients:
            raise CohortError(
                f"{self.patients} patients are in both cohorts",
                closest=f"{len(self.ids)} by id, {len(self.respelt)} by an id that is spelt in two ways, "
                f"{len(self.pictures)} by a picture under two ids",
                remedy="split by patient: whoever is among the training images may not be in the hold-out; "
                "write each patient's id in one way in both cohorts",
            )


def shared(a: CohortSurvey, b: CohortSurvey) -> Shared:
    """Patients of both cohorts: by id, by an id spelt otherwise, by the same file and by nearly the same picture."""
    known = a.known_patients and b.known_patients
    mine, theirs = ({*cohort.people, *cohort.unread_people} if known else set() for cohort in (a, b))
    spelt = {spelling(name): name for name in sorted(theirs)}
    respelt = [(name, spelt[spelling(name)]) for name in sorted(mine - theirs) if spelling(name) in spelt]
    pairs = {*_same_files(a, b), *_same_pictures(a, b)}
    return Shared(
        ids=tuple(sorted(mine & theirs)),
        respelt=tuple(respelt),
        pictures=tuple(sorted(pair for pair in pairs if not known or pair[0] != pair[1])),
        known=known,
    )


def _same_files(a: CohortSurvey, b: CohortSurvey) -> Iterator[tuple[str, str]]:
    owners = {content: person for content, person in zip(b.prints, b.people, strict=True) if content}
    for content, person in zip(a.prints, a.people, strict=True):
        if content in owners:
            yield person, owners[content]


def _same_pictures(a: CohortSurvey, b: CohortSurvey) -> Iterator[tuple[str, str]]:
    if len(a.thumbs) and len(b.thumbs):
        for i, j in pairs_alike(torch.from_numpy(a.thumbs), torch.from_numpy(b.thumbs)):
            yield a.thumb_people[i], b.thumb_people[j]
