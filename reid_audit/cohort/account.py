"""What was read, what was left out and how grey values were scaled: for the report, and as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.render import applied
from reid_audit.cohort.source import Listing
from reid_audit.records import GreyValues, LeftOut, Scaling

Grey = tuple[str, int, Scaling | None, bool]
"""kind, bits, scaling rendered, declared: what ``GreyValues`` counts."""


def grey_of(film: RawFilm, declared: Scaling | None) -> Grey:
    """How ``film`` is scaled when ``declared`` is."""
    if film.as_seen and declared is None:
        return film.kind, film.bits, None, False
    used = applied(film, declared)
    return film.kind, film.bits, used, used == declared


def tally(greys: Counter[Grey]) -> tuple[GreyValues, ...]:
    """The counts as records, the most frequent first."""
    ordered = sorted(greys.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(
        GreyValues(kind=kind, bits=bits, scaling=scaling, declared=declared, films=films)  # type: ignore[arg-type]
        for (kind, bits, scaling, declared), films in ordered
    )


def left_out(counts: Counter[str]) -> tuple[LeftOut, ...]:
    """Reasons and counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LeftOut(why=why, count=count) for why, count in ordered)


def notes(listing: Listing, greys: Sequence[GreyValues], role: str) -> tuple[str, ...]:
    """What somebody should know who gave this source: one line each, no names of files or patients."""
    films, files = len(listing.rows), len({row.path for row in listing.rows})
    others = ", ".join(f"{one.count} {one.why}" for one in left_out(listing.left_out))
    told = [f"{role}: {films} films read from {files} files; left out: {others}"] if others else []
    told += [f"{role}: {note}" for note in listing.notes]
    if not listing.known_patients:
        told.append(
            f"{role}: no patient ids, so each of {len({r.patient for r in listing.rows})} files or array films"
            " counts as its own patient"
        )
    told += [f"{role}: {in_words(grey)}: [preprocess] scaling is not declared" for grey in greys if _guessed(grey)]
    return tuple(told)


def in_words(grey: GreyValues) -> str:
    """One line such as ``16 films of 12 bits: 0 to 4095 become 0 to 1``."""
    films = f"{grey.films} {'film' if grey.films == 1 else 'films'} of {grey.bits} bits"
    if grey.scaling is None:
        return f"{films}: mapped back from what the network saw, by mean and std"
    if grey.kind == "float" and grey.scaling.by == "bits":
        return f"{films}, floating point: taken as 0 to 1"
    ends = "" if grey.scaling.limits is None else "{:g} to {:g}".format(*grey.scaling.limits)
    ways = {
        "bits": f"what {grey.bits} bits hold becomes 0 to 1",
        "range": f"{ends} becomes 0 to 1",
        "window": "the file's window becomes 0 to 1",
        "minmax": "each film's own range becomes 0 to 1",
        "percentiles": f"each film's percentiles {ends} become 0 and 1",
    }
    return f"{films}: {ways[grey.scaling.by]}"


def _guessed(grey: GreyValues) -> bool:
    """Whether another reading would have been as likely: whole numbers of more than 8 bits."""
    return not grey.declared and grey.kind == "integer"
