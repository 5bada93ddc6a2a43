"""What is wrong with a source, row by row and file by file: found all at once, refused in three lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reid_audit.errors import CohortError

Kind = Literal[
    "source", "missing", "unreadable", "repeated", "cells", "patient", "age", "sex", "finding", "values", "blank"
]
KIND_WORDS: dict[Kind, str] = {
    "source": "source",
    "missing": "rows whose image does not exist",
    "unreadable": "images that cannot be read",
    "repeated": "films named twice",
    "cells": "rows with cells that no column has",
    "patient": "patient ids that cannot be used",
    "age": "ages that cannot be read",
    "sex": "sexes that cannot be read",
    "finding": "findings that cannot be read",
    "values": "films whose grey values cannot be scaled",
    "blank": "films of a single grey value",
}
"""What each kind is called behind a number."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that has to be put right before an audit."""

    kind: Kind
    what: str
    """What is wrong and where: a row or file by name, so not for publication."""
    closest: str
    remedy: str

    def error(self) -> CohortError:
        """The fault alone as a refusal."""
        return CohortError(self.what, closest=self.closest, remedy=self.remedy)

    @classmethod
    def of(cls, error: CohortError, kind: Kind) -> Fault:
        """A refusal as one fault among others."""
        return cls(kind, error.what, error.closest, error.remedy)


def counted(faults: Sequence[Fault]) -> tuple[tuple[Kind, int], ...]:
    """How many faults there are of each kind, the most frequent first; names nothing and nobody."""
    return tuple(Counter(fault.kind for fault in faults).most_common())


def refusal(faults: Sequence[Fault], source: str) -> CohortError:
    """One refusal for all faults: their counts by kind, the first ones by name. ``faults`` must not be empty."""
    if len(faults) == 1:
        return faults[0].error()
    kinds = ", ".join(f"{count} {KIND_WORDS[kind]}" for kind, count in counted(faults))
    shown = "; ".join(fault.what for fault in faults[:_SHOWN])
    remedies = dict.fromkeys(fault.remedy for fault in faults)
    more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
    return CohortError(
        f"{len(faults)} faults in {source}: {kinds}", closest=shown + more, remedy="; ".join(list(remedies)[:_SHOWN])
    )
