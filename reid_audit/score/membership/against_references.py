"""The one score against reference models that a verdict rests on, named before any film is seen."""

from __future__ import annotations

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.lira import lira
from reid_audit.score.membership.observed import Observed
from reid_audit.score.membership.rmia import rmia

FEWEST = 4
"""References from which on their spread is worth a likelihood ratio."""


def against_references(seen: Observed) -> Floats:
    """[N] larger is more member-like: RMIA below ``FEWEST`` references, LiRA with a shared variance from there on."""
    return lira(seen) if len(seen.references) >= FEWEST else rmia(seen)
