"""Where a check takes its films from: opened only when the audit asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.checking.options import CheckOptions
from reid_audit.errors import PolicyError
from reid_audit.records import CohortName, Role

if TYPE_CHECKING:
    from reid_audit.audit import Films
    from reid_audit.audit.request import Draw
    from reid_audit.cohort import Cohort, Frame, Sample, Source
    from reid_audit.imaging.stack import Stack

PRIOR_FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
"""Suffixes of a --prior that is a file of weights, not films. All but the first are refused by the prior's reader."""
PRIOR: Role = "reference"
"""The side that films of the prior are read as."""
DRAW = 0
"""Seed of the films that the preprocessing is fitted on."""


def sources(options: CheckOptions) -> tuple[Films, Path | None]:
    """The films of the audit, and the prior's file if it is one. Nothing is opened yet. Raises CohortError, and
    PolicyError for options at odds."""
    from reid_audit.audit import Films, PriorFilms
    from reid_audit.cohort import Source, load_cohort, parse_source

    prior_file = named_prior(options)
    folder = None if prior_file is not None else options.prior
    prior = None if folder is None else partial(load_cohort, Source(*parse_source(folder), options.strata), role=PRIOR)
    films = Films(
        reference=None if options.reference is None else opener(options, options.reference, "reference"),
        holdout=None if options.holdout is None else opener(options, options.holdout, "holdout"),
        prior=None
        if prior is None or folder is None
        else lambda frame: PriorFilms(prior(frame), declared=parse_source(folder)[0].name),
        raw=drawer(options, {"reference": options.reference, "holdout": options.holdout, "prior": folder}),
    )
    return films, prior_file


def drawer(options: CheckOptions, given: Mapping[str, str | None]) -> Draw:
    """What draws raw films of the given cohorts pooled, with their training labels where both cohorts name them."""
    from reid_audit.cohort import Source, parse_source, sample_pooled

    def draw(cohorts: tuple[CohortName, ...], count: int, edge: Callable[[int], int] | None) -> Sample:
        texts = [text for cohort in cohorts if (text := given[cohort]) is not None]
        label = options.label if "prior" not in cohorts else None
        sources = [Source(*parse_source(text), label=label) for text in texts]
        return sample_pooled(sources, count=count, seed=DRAW, edge=edge)

    return draw


def named_prior(options: CheckOptions) -> Path | None:
    """The prior's file, None where there is none. Raises PolicyError on a patient file without it."""
    file = None if options.prior is None else Path(options.prior)
    named = file if file is not None and file.suffix.lower() in PRIOR_FILES else None
    if options.prior_patients is not None and named is None:
        raise PolicyError(
            "--prior-patients goes with a --prior file",
            closest="--prior is not given" if file is None else f"--prior {file} names films",
            remedy=f"give the file of the prior ({PRIOR_FILES[0]}), or leave out --prior-patients",
        )
    return named


def opener(options: CheckOptions, text: str, role: Role) -> Callable[[Frame], Cohort[Stack]]:
    """What reads the films of ``text`` once their frame is known; kept in ``--cache``, or for the run alone."""
    from reid_audit.cohort import FilmStore, Source, parse_source, stored_cohort

    source = Source(*parse_source(text), options.strata, options.label)
    return partial(stored_cohort, source, role=role, store=FilmStore(kept_in(options, text)))


def kept_in(options: CheckOptions, text: str) -> Path | None:
    """Where the rendered films of ``text`` are kept: in the cache, but never below the folder of reports, which is
    given away, and not where the films themselves are temporary."""
    if options.cache is None or options.cache.resolve().is_relative_to(options.out.resolve()):
        return None
    return None if options.temporary(text) else options.cache


def surveyed(options: CheckOptions) -> dict[CohortName, Source]:
    """The sources that a preflight looks at. Raises CohortError where one cannot be told from its filter."""
    from reid_audit.cohort import Source, parse_source

    prior = options.prior if named_prior(options) is None else None
    texts: tuple[tuple[CohortName, str | None], ...] = (
        ("reference", options.reference),
        ("holdout", options.holdout),
        ("prior", prior),
    )
    return {
        role: Source(*parse_source(text), options.strata, options.label if role != "prior" else None)
        for role, text in texts
        if text is not None
    }
