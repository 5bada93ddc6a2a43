"""Findings that have a column each, as in CheXpert, MIMIC-CXR and one-hot tables: one word a film.

The word is a mark for each column in the order in which they were named, and after it what people may read: ``+-?.``
and ``Edema`` where Edema is present, the second finding absent, the third uncertain and the fourth blank. What
uncertain (-1) and blank mean is documented by Irvin et al. (CheXpert, AAAI 2019): a report that neither confirms nor
rules out, and a report that does not speak of the finding, which counts as absent.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from reid_audit.errors import CohortError

PRESENT, ABSENT, UNCERTAIN, BLANK = "+-?."
NONE = "none of them"
"""What people read of a film without any finding."""
_BETWEEN = "\x1f"
_SIGNS = {PRESENT: 1, ABSENT: 0, BLANK: 0, UNCERTAIN: -1}
_MARKS = {
    **dict.fromkeys(("1", "true", "yes", "y", "positive", "present"), PRESENT),
    **dict.fromkeys(("0", "false", "no", "n", "negative", "absent"), ABSENT),
    **dict.fromkeys(("-1", "u", "uncertain"), UNCERTAIN),
    **dict.fromkeys(("", "nan", "na", "n/a", "none", "null"), BLANK),
}


def columns_named(text: str) -> tuple[str, ...]:
    """``Edema, Mass`` -> its columns; one that holds a comma stands in quotes. ``Edema,`` names one column of marks."""
    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip())


def read_mark(text: str) -> str:
    """``PRESENT`` for 1, 1.0, true or yes; ``ABSENT``, ``UNCERTAIN`` (-1) or ``BLANK``. Raises CohortError."""
    word = text.strip().casefold()
    mark = _MARKS.get(word.removesuffix(".0"))
    if mark is None:
        raise CohortError(
            f"the finding {text}",
            closest="a finding is 1 (present), 0 (absent), -1 (uncertain) or blank",
            remedy="correct the cell, or name a column of findings with --label",
        )
    return mark


def word_of(marks: Mapping[str, str]) -> str:
    """One film's word from column -> mark, in the columns' order."""
    present = [name for name, mark in marks.items() if mark == PRESENT]
    return "".join(marks.values()) + _BETWEEN + (" and ".join(present) or NONE)


def readable(word: str) -> str:
    """What people may read of a label: the findings that are present; any other label as it is."""
    return word.rpartition(_BETWEEN)[2]


def marks_of(words: Iterable[str]) -> list[str]:
    """The marks of each word; empty where not all are such words over the same number of columns."""
    found = [word.partition(_BETWEEN) for word in words]
    whole = len({len(marks) for marks, _, _ in found}) == 1 and all(between for _, between, _ in found)
    return [marks for marks, _, _ in found] if whole else []


def signs_of(words: NDArray[np.str_]) -> NDArray[np.int8] | None:
    """[N, F] 1 present, 0 absent or blank, -1 uncertain, of words [N]; None where they are not of columns."""
    known, places = np.unique(words, return_inverse=True)
    marks = marks_of(known.tolist())
    if not marks:
        return None
    return np.array([[_SIGNS[mark] for mark in each] for each in marks], dtype=np.int8)[places.reshape(-1)]


def exclusive(marks: Iterable[str]) -> bool:
    """Whether every film has exactly one finding, as where each column is a class; uncertain ones may have none."""
    return all(each.count(PRESENT) == 1 or (UNCERTAIN in each and PRESENT not in each) for each in marks)
