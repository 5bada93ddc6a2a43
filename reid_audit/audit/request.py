"""What is asked of an audit, and where its films come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid_audit.attack.methods import DEFAULT, WITH_GENERATOR, MethodName
from reid_audit.cohort import Cohort, Frame, Sample
from reid_audit.imaging.stack import Stack
from reid_audit.records import CohortName, Policy, Record, Waiver

Draw = Callable[[tuple[CohortName, ...], int, Callable[[int], int] | None], Sample]
"""Draws films of cohorts: from their names, how many at most, and what edge each needs (``Films.raw``)."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What is said of a network that its file does not tell."""

    architecture: str | None = None
    """Name given with --arch."""
    factory: str | None = None
    """``package.module:function`` given with --arch-factory."""
    side: int | None = None
    """Pixels of the square input, where the policy declares them."""


@dataclass(frozen=True, slots=True)
class PriorChoice:
    """Which prior is used where no films are given to fit one on."""

    file: Path | None = None
    """None: the shipped one."""
    patients: Path | None = None
    """Patient file of ``file``; None: the one beside it, where there is one."""
    generator: bool = False
    """Whether the method searches the latents of a generator, so that the shipped prior is one."""
    seed: int = 0
    """Of a fit to the films, or to samples of a generator."""

    def is_shipped(self, films: Films) -> bool:
        """Whether neither a file nor films to fit one on are given, so that the shipped prior is used."""
        return self.file is None and films.prior is None


@dataclass(frozen=True, slots=True)
class AttackChoice:
    """Which attack is run, and from which seed."""

    method: str
    seed: int


class AuditRequest(Record):
    """One audit of one checkpoint under one policy."""

    checkpoint: Path
    policy: Policy = Policy()
    policy_sha256: str
    waivers: tuple[Waiver, ...] = ()
    method: MethodName = DEFAULT
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    architecture: str | None = None
    """Name given with --arch."""
    factory: str | None = None
    """``package.module:function`` given with --arch-factory."""
    prior: Path | None = None
    """A prior file; None: ``Films.prior``, or else the shipped one."""
    prior_patients: Path | None = None
    """Patient file of ``prior``; None: the one beside it, where there is one."""
    predictor: Path | None = None
    """An age and sex predictor file; None: what the policy's ``demographics`` says."""
    base: Path | None = None
    """The weights that fine-tuning started from, where they are public."""
    encoder: Path | None = None
    """A re-identification encoder; None: what the policy's ``[encoder]`` says."""
    options: tuple[tuple[str, str], ...] = ()
    """The command that asks, as ``AuditResult.options``; it decides nothing."""

    @property
    def naming(self) -> Naming:
        """What is said of the network that its file does not tell."""
        declared = self.policy.preprocess.declared
        return Naming(self.architecture, self.factory, None if declared is None else declared.side)

    @property
    def prior_choice(self) -> PriorChoice:
        """Which prior is used where no films are given to fit one on."""
        return PriorChoice(self.prior, self.prior_patients, self.method in WITH_GENERATOR, self.seed)

    @property
    def attack(self) -> AttackChoice:
        """Which attack is run, and from which seed."""
        return AttackChoice(self.method, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class PriorFilms:
    """Public films the prior is fitted on in this run, with the name they are declared under."""

    cohort: Cohort
    declared: str
    licence: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Where films come from. Called only when the stage that may see them has been reached."""

    reference: Callable[[Frame], Cohort[Stack]] | None = None
    holdout: Callable[[Frame], Cohort[Stack]] | None = None
    prior: Callable[[Frame], PriorFilms] | None = None
    counted: tuple[int, int] | None = None
    """Films of training and hold-out, where they were counted before."""
    reading: float = 0.0
    """Seconds that reading both cohorts was found to take; 0: not known."""
    raw: Draw | None = None
    """At most so many films as they are stored of those of the named cohorts that are given, drawn from all of them
    pooled, blind to the cohort, and made smaller where the last argument says how much of their edge is needed
    (``sample_pooled``). None: films come in one frame only, and how they were framed cannot be asked of the network."""
