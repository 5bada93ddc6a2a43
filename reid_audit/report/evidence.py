"""What ``restricted/`` shows: the images behind a verdict, and what the tests saw of each patient. Never published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from reid_audit.records import METRICS, Family, Metric, OverReferences


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A reconstruction beside its nearest match."""

    reconstruction: bytes
    """PNG."""
    match: bytes
    """PNG of the nearest film."""
    ssim: float
    nn: float
    reconstruction_id: str
    patient_id: str
    member: bool
    """True where the nearest film belongs to a training patient."""


@dataclass(frozen=True, slots=True, eq=False)
class GridCell:
    """One latent before and after tuning, with the class the audited model sees in each."""

    original: bytes
    """PNG."""
    tuned: bytes
    """PNG."""
    original_class: str
    tuned_class: str
    original_confidence: float | None = None
    tuned_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class DemographicRow:
    """Age and sex as predicted and as true, for one pair."""

    reconstruction_id: str
    patient_id: str
    age_reconstruction: float | None = None
    age_nearest: float | None = None
    age_true: float | None = None
    sex_reconstruction: str = ""
    sex_nearest: str = ""
    sex_true: str = ""

    @property
    def age_error(self) -> float | None:
        """Absolute error of the age read from the reconstruction, in years."""
        if self.age_reconstruction is None or self.age_true is None:
            return None
        return abs(self.age_reconstruction - self.age_true)

    @property
    def age_error_nearest(self) -> float | None:
        """Absolute error of the age read from the nearest film, in years."""
        return None if self.age_nearest is None or self.age_true is None else abs(self.age_nearest - self.age_true)

    @property
    def sex_correct(self) -> bool | None:
        """Whether the reconstruction shows the true sex; None where either is unknown."""
        if not self.sex_reconstruction or not self.sex_true:
            return None
        return self.sex_reconstruction == self.sex_true

    @property
    def sex_correct_nearest(self) -> bool | None:
        """Whether the nearest film's true sex is read from it; None where either is unknown."""
        return None if not self.sex_nearest or not self.sex_true else self.sex_nearest == self.sex_true


@dataclass(frozen=True, slots=True)
class Nearest:
    """One of the reconstructions nearest to a patient."""

    reconstruction_id: str
    rank: int
    """Place of the patient among all, for this reconstruction; 1 is nearest."""


@dataclass(frozen=True, slots=True)
class MatchRow:
    """One row of the cumulative match characteristic, of one scorer."""

    scorer: str
    rank: int
    training: float
    """Share of training patients at this rank or a nearer one."""
    holdout: float


@dataclass(frozen=True, slots=True)
class PatientScore:
    """What the tests saw of one patient."""

    patient_id: str
    member: bool
    linkage: float | None = None
    linkage_p: float | None = None
    membership: float | None = None
    reidentified: bool = False
    """Whether a reconstruction is reported as this patient's, as ``reidentified_patients`` counts."""
    recognised: bool = False
    """Whether the weights name this patient one by one, as ``recognised_patients`` counts."""
    membership_p: float | None = None
    """Conformal p of the membership score among the hold-out patients; one minus it is the certainty."""
    over_references: float | None = None
    """Share of the pairs of reference models, one with and one without the patient, that tell which is which."""
    nearest: tuple[Nearest, ...] = ()
    """Those that rank the patient highest, best first."""
    films: tuple[bytes, ...] = ()
    """PNG; empty where the patient has no section."""
    more_films: int = 0
    """Films that are not shown."""

    @property
    def rank(self) -> int | None:
        """The patient's best rank over all reconstructions; None where there are none."""
        return self.nearest[0].rank if self.nearest else None

    @property
    def exposed(self) -> str:
        """How this patient is exposed, in words; empty where not."""
        ways = (("re-identified", self.reidentified), ("recognised", self.recognised))
        return ", ".join(word for word, so in ways if so)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything the restricted page shows."""

    checkpoint_sha256: str
    outcome: str
    pairs: tuple[Pair, ...] = ()
    grid: tuple[GridCell, ...] = ()
    demographics: tuple[DemographicRow, ...] = ()
    patients: tuple[PatientScore, ...] = ()
    family: str = ""
    """The membership score family shown."""
    explaining: float | None = None
    """How many films, effectively, share the explanation of the stored statistics."""
    over_references: OverReferences | None = None
    """How many patients are recognised over how many of the reference models."""
    breaches: tuple[Metric, ...] = ()
    """What failed the model: the page is sorted by it."""
    identification: tuple[MatchRow, ...] = ()
    """The cumulative match characteristic of every scorer."""
    reconstructions: dict[str, bytes] = field(default_factory=dict)
    """PNG of every reconstruction that a patient's section shows, by its id."""

    @property
    def by_membership(self) -> bool:
        """Whether membership failed the model, and no comparison of reconstructions did."""
        failed = {METRICS[metric].family for metric in self.breaches}
        return Family.MEMBERSHIP in failed and not failed & {Family.LINKAGE, Family.LIKELY}


def in_order(patients: Sequence[PatientScore], *, membership: bool) -> list[PatientScore]:
    """Exposed patients first, then those with the highest scores, of ``membership`` or of the match."""
    return sorted(patients, key=lambda patient: _order(patient, membership=membership))


def _order(patient: PatientScore, *, membership: bool) -> tuple[bool, float, float]:
    """Exposed first, then the highest scores, those of ``membership`` or of the match; a missing score is last."""
    match, known = (math.inf if score is None else -score for score in (patient.linkage, patient.membership))
    return (not patient.exposed, known, match) if membership else (not patient.exposed, match, known)
