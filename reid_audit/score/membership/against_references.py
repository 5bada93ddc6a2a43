"""The one score against reference models that a verdict rests on, named before any film is seen."""

from __future__ import annotations

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.adjusted import adjusted
from reid_audit.score.membership.observed import Observed


def against_references(seen: Observed) -> Floats:
    """[N] larger is more member-like: the adjusted log odds, which docs/membership.md holds against LiRA and RMIA."""
    return adjusted(seen)
