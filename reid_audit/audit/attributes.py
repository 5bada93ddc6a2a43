"""What the manifests say of each patient, as groups whose risk is compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.findings import readable
from reid_audit.records import GroupedBy
from reid_audit.score.comparison import Comparison

BAND = 20
"""Years of an age band."""
MANY = 4
"""Films from which a patient has many."""


def attributes_of(comparison: Comparison, patients: NDArray[np.str_]) -> dict[GroupedBy, NDArray[np.str_]]:
    """Sex, age band, training label, stratum and films of ``patients`` [P], "" where unknown or not one word.

    A patient with films of several labels or strata belongs to none of them.
    """
    words: dict[GroupedBy, NDArray[np.str_]] = {
        "sex": comparison.sexes,
        "age": np.array([band(age) for age in comparison.ages.tolist()], dtype=np.str_),
        "label": np.array([readable(word) for word in comparison.labels.tolist()], dtype=np.str_),
    }
    if comparison.owners.strata is not None:
        words["stratum"] = comparison.owners.strata
    own: dict[str, list[int]] = {}
    for row, patient in enumerate(comparison.patients.tolist()):
        own.setdefault(patient, []).append(row)
    rows = [own[patient] for patient in patients.tolist()]
    found: dict[GroupedBy, NDArray[np.str_]] = {}
    for name, column in words.items():
        found[name] = np.array([_one(column[each]) for each in rows], dtype=np.str_)
    found["films"] = np.array([films(len(each)) for each in rows], dtype=np.str_)
    return found


def band(age: float) -> str:
    """Such as ``40 to 59`` years; "" where unknown."""
    if np.isnan(age):
        return ""
    low = int(age // BAND) * BAND
    return f"{low} to {low + BAND - 1}"


def films(count: int) -> str:
    """One film, two or three, or more."""
    return "1" if count == 1 else f"2 to {MANY - 1}" if count < MANY else f"{MANY} and more"


def _one(words: NDArray[np.str_]) -> str:
    different = set(words.tolist())
    return different.pop() if len(different) == 1 else ""
