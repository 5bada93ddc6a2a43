"""Do the strata leave anything to compare? Within one that a single cohort fills, no label can be exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from reid_audit.cohort.assemble import Cohort
from reid_audit.errors import CohortError
from reid_audit.imaging.stack import Stack

LEAST = 0.5
"""Share of the comparisons between cohorts that strata have to leave."""


def left_by(reference: Mapping[str, int], holdout: Mapping[str, int]) -> float:
    """Share of what both cohorts tell without strata that they tell within them, from patients (or films) by stratum.

    Of n and m that are compared the precision is that of n m / (n + m) pairs, which add up over strata. 1 where both
    cohorts are divided alike, 0 where no stratum holds some of both: every permutation within strata is then the same,
    and every p-value 1.
    """
    within = sum(_pairs(count, holdout.get(name, 0)) for name, count in reference.items())
    whole = _pairs(sum(reference.values()), sum(holdout.values()))
    return within / whole if whole else 1.0


def require_common_strata(a: Cohort[Stack], b: Cohort[Stack]) -> None:
    """Raise CohortError where the strata that were named tell the cohorts apart."""
    if not a.summary.strata:
        return
    refuse_apart(*(_patients(zip(c.patients.tolist(), c.strata.tolist(), strict=True)) for c in (a, b)))


def refuse_apart(reference: Mapping[str, int], holdout: Mapping[str, int]) -> None:
    """Raise CohortError where strata leave too little to compare."""
    left = left_by(reference, holdout)
    if left < LEAST:
        common = len(reference.keys() & holdout.keys())
        raise CohortError(
            f"within the strata (--strata) {left:.0%} of the comparison of training with hold-out films is left",
            closest=f"{len(reference)} and {len(holdout)} strata, {common} in both cohorts; {LEAST:.0%} is needed",
            remedy="leave --strata out, or give hold-out films from the sites, views or devices of the training films",
        )


def _patients(films: Iterable[tuple[str, str]]) -> Counter[str]:
    """Patients by stratum from (patient, stratum) of films; one with films in several counts in the first."""
    return Counter(dict(reversed(list(films))).values())


def _pairs(first: int, second: int) -> float:
    return first * second / (first + second) if first + second else 0.0
