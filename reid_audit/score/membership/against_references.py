"""The one score against reference models that a verdict rests on, named before any film is seen."""

from __future__ import annotations

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.adjusted import adjusted
from reid_audit.score.membership.neighbours import neighbours
from reid_audit.score.membership.observed import Observed


def against_references(seen: Observed) -> Floats:
    """[N] larger is more member-like: the film beside its neighbours where the references show that these say more,
    else the adjusted log odds. The references alone decide that, blind to who trained the audited network.
    """
    found = neighbours(seen)
    return adjusted(seen) if found is None else found
