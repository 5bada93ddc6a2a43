"""Sexes as hospitals write them, in seven languages: what a letter means, the column that it stands in says."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from reid_audit.cohort.cells import UNKNOWN
from reid_audit.errors import CohortError

# fmt: off
_MEN = frozenset((
    "male", "man", "masculine",  # English
    "mannlich", "maennlich", "mann", "herr",  # German
    "homme", "masculin",  # French
    "hombre", "masculino", "varon", "homem",  # Spanish, Portuguese
    "maschio", "uomo", "maschile",  # Italian
    "mannelijk",  # Dutch
))
_WOMEN = frozenset((
    "female", "woman", "feminine",
    "weiblich", "frau", "w",
    "femme", "feminin",
    "mujer", "femenino", "feminino", "mulher",
    "femmina", "donna", "femminile",
    "vrouw", "vrouwelijk",
))
_NEITHER = UNKNOWN | frozenset((
    "u", "o", "x", "other", "divers", "diverse", "intersex", "autre", "otro", "otra", "outro", "altro", "anders",
    "unbekannt", "inconnu", "desconocido", "desconhecido", "sconosciuto", "onbekend",
))
# fmt: on
_BY_H, _BY_M = frozenset(("h", "hombre", "homem")), frozenset(("mujer", "mulher"))
"""Men as only Spanish, Portuguese and French call them; women whose word begins with M."""
DEFINED = frozenset(("m", "f"))
"""Letters whose meaning DICOM defines: in a header M is never a woman."""
M_ALONE = (
    "the column of sexes holds M and no other letter, a man in most languages and a woman in Spanish and Portuguese: "
    "read as unknown; write male or female"
)
_REWRITE = "rewrite the column with M and F"


def column_of(cells: Iterable[str]) -> frozenset[str]:
    """What a column of sexes holds, as ``read_sex`` compares it: without case and accents."""
    return frozenset(_word(cell) for cell in cells)


def only_m(column: frozenset[str]) -> bool:
    """Whether nothing but the letter M is known of the sexes, so that no other letter says what it means."""
    return column - _NEITHER == {"m"}


def read_sex(text: str, column: frozenset[str]) -> str:
    """``M``, ``F``, or ``""`` where it is unknown or neither. column: what its column holds, by ``column_of``.

    M and H are men, F and W women; beside H alone M is a woman (hombre, mujer), M without any other is unknown, and D
    is neither beside M, F or W.
    Raises CohortError for numbers, for letters that the column leaves open, and for anything else.
    """
    word = _word(text)
    if word in _NEITHER or (word == "d" and column & {"m", "f", "w"}):
        return ""
    if word == "m":
        return _sex_of_m(text, column)
    if word in _MEN or word == "h":
        return "M"
    if word in _WOMEN or word == "f":
        return "F"
    raise CohortError(f"the sex {text}", closest=_closest(word), remedy=_REWRITE)


def _sex_of_m(text: str, column: frozenset[str]) -> str:
    if not column & (_BY_H | _BY_M):
        return "" if only_m(column) else "M"
    if column & _BY_H and not column & ((_WOMEN - _BY_M) | {"f"} | (_MEN - _BY_H)):
        return "F"
    beside = ", ".join(sorted(column & (_BY_H | _BY_M))[:3])
    closest = f"M is a woman beside H (hombre, mujer) and a man beside F; here it stands beside {beside}"
    raise CohortError(f"the sex {text}, which may be either", closest=closest, remedy=f"who is {text}? {_REWRITE}")


def _closest(word: str) -> str:
    if word.replace(".", "").isdecimal():
        return "a number does not say which sex it stands for: which code is which?"
    if word == "v":
        return "V is a woman in Dutch (vrouw) and a man in Spanish (varón)"
    if word == "d":
        return "D is divers in German, and a woman in Italian (donna); here no M, F or W stands beside it"
    return "M and F, or words: male, female; männlich, weiblich; homme, femme; hombre, mujer; empty where unknown"


def _word(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
