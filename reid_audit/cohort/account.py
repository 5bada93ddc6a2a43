"""What was read, what was left out and how grey values were scaled: for the report, and as lines for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from reid_audit.cohort.folder import FILTERED
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.render import applied
from reid_audit.cohort.source import Listing
from reid_audit.records import GreyValues, LeftOut, Scaling

_DIM = 0.25
"""Films that use less than this of what their bits can hold are worth a word: 12-bit values in 16 bits use 0.06."""
_Kind = tuple[Literal["8-bit", "integer", "float"], int, Scaling | None, bool]
"""kind, bits, scaling rendered, declared: what ``GreyValues`` counts."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What an account needs to know of one film; its pixels are not needed again."""

    kind: _Kind
    turned: bool
    low: float
    """The smallest and the largest value stored."""
    high: float
    share: float
    """How much of what its bits can hold the values use."""

    @classmethod
    def of(cls, film: RawFilm, declared: Scaling | None) -> Passed:
        """``film`` under the scaling ``declared``; raises nothing, whatever its values."""
        restored = film.as_seen and declared is None
        used = None if restored else applied(film, declared)
        low, high = float(film.pixels.min()), float(film.pixels.max())
        kind = (film.kind, film.bits, used, used == declared and not restored)
        return cls(kind, film.turned, low, high, (high - low) / (film.high - film.low))


class Account:
    """Counts films by how they are scaled, as they pass."""

    def __init__(self) -> None:
        self._turned = 0
        self._films: Counter[_Kind] = Counter()
        self._reach: dict[_Kind, tuple[float, float, float]] = {}

    def add(self, film: Passed) -> None:
        """One more film."""
        self._films[film.kind] += 1
        self._turned += film.turned
        lowest, highest, share = self._reach.get(film.kind, (film.low, film.high, 0.0))
        self._reach[film.kind] = (min(film.low, lowest), max(film.high, highest), max(share, film.share))

    def grey_values(self) -> tuple[GreyValues, ...]:
        """The counts, the most frequent first."""
        ordered = sorted(self._films.items(), key=lambda item: (-item[1], str(item[0])))
        return tuple(
            GreyValues(kind=kind, bits=bits, scaling=scaling, declared=declared, films=films)
            for (kind, bits, scaling, declared), films in ordered
        )

    def notes(self) -> tuple[str, ...]:
        """Where another reading would have been as likely: which one was used, and what the values look like."""
        turned = f"{self._turned} films were turned by their EXIF orientation; code that ignores it saw them unturned"
        guesses = tuple(self._note(grey) for grey in self.grey_values() if grey.guessed)
        return (turned, *guesses) if self._turned else guesses

    def _note(self, grey: GreyValues) -> str:
        low, high, share = self._reach[grey.kind, grey.bits, grey.scaling, grey.declared]
        line = f"{grey.in_words()}; [preprocess] scaling is not declared"
        if share >= _DIM:
            return line
        return f"{line}, and the values lie between {low:g} and {high:g}: is it {{ range = [{low:g}, {_next(high)}] }}?"


def _next(high: float) -> int:
    """The largest value of the fewest bits that hold ``high``."""
    return int(2 ** max(8, int(high).bit_length()) - 1)


def left_out(counts: Counter[str]) -> tuple[LeftOut, ...]:
    """Reasons and counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LeftOut(why=why, count=count) for why, count in ordered)


def notes(listing: Listing, account: Account) -> tuple[str, ...]:
    """What somebody should know who gave this source: one line each, no names of files or patients."""
    films, files = len(listing.rows), len({row.path for row in listing.rows})
    others = ", ".join(f"{one.count} {one.why}" for one in left_out(listing.left_out) if one.why != FILTERED)
    lines = [f"{films} films read from {files} files; left out: {others}"] if others else []
    lines += listing.notes
    if not listing.known_patients:
        people = len({row.patient for row in listing.rows})
        what = "films" if people == films else "files"
        lines.append(f"no patient ids: each of {people} {what} counts as its own patient")
    return (*lines, *account.notes())
