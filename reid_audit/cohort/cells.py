"""Ages and patient ids as hospitals write them."""

from __future__ import annotations

import math
import re
import unicodedata

from reid_audit.errors import CohortError

UNKNOWN = frozenset(("", "nan", "na", "n/a", "nat", "none", "null", "unknown", "unk", "-", "--", ".", "?", "#n/a"))
"""How tables write that they do not know, in lower case."""
_NOBODY = UNKNOWN | {"anonymous", "anonymised", "anonymized"}
_OLDEST = 130.0
_YEARS = {"y": 1.0, "m": 1.0 / 12.0, "w": 7.0 / 365.25, "d": 1.0 / 365.25}
"""Length of a DICOM age unit in years (PS3.5, value representation AS)."""
_AGE = re.compile(
    r"(?P<over>>=?|≥)?\s*(?P<number>\d+(?:[.,]\d+)?)\s*(?P<plus>\+)?\s*"
    r"(?P<unit>y|yrs?|years?|m|mos?|months?|w|wks?|weeks?|d|days?)?(?:\s*old)?"
)
_NUMBER = re.compile(r"0*(\d+)(?:\.0*)?")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?e\+\d+")


def read_age(text: str) -> float:
    """Years of ``58``, ``58.5``, ``058Y``, ``018M``, ``006W``, ``010D``, ``>89`` and ``90+``; NaN where unknown.

    An open age counts as the youngest whole year it allows: ``>89``, ``>=90`` and ``90+`` are 90.
    Raises CohortError for anything else, and beyond 130 years.
    """
    word = text.strip().casefold()
    if word in UNKNOWN:
        return math.nan
    found = _AGE.fullmatch(word)
    age = math.inf
    if found is not None:
        age = float(found["number"].replace(",", ".")) + (1.0 if found["over"] == ">" else 0.0)
        age *= _YEARS[(found["unit"] or "y")[0]]
    if not 0.0 <= age <= _OLDEST:
        raise CohortError(
            f"the age {text}",
            closest="ages are years from 0 to 130, or DICOM's 045Y, 018M, 006W, 010D; >89 and 90+ are read too",
            remedy="correct the cell, or leave it empty where the age is unknown",
        )
    return age


def names_nobody(text: str) -> bool:
    """Whether an id says that the patient is not known: all films so marked would become one patient."""
    return text.strip().casefold() in _NOBODY


def was_rounded(text: str) -> bool:
    """Whether an id is a number that a spreadsheet has cut to a few digits, such as 1.23457E+12."""
    return _ROUNDED.fullmatch(text.strip().casefold()) is not None


def spelling(text: str) -> str:
    """What ids have in common that differ in spelling alone.

    Ids are text, so ``7``, ``7.0`` and ``0007`` are three ids; but tables that passed through a spreadsheet write one
    patient in all three ways. Case, width of characters, white space, leading zeros and an empty fraction are dropped.
    """
    word = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    number = _NUMBER.fullmatch(word)
    return word if number is None else number[1]
