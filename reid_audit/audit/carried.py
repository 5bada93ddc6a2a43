"""Planted patients carried through the mitigations: known members, before and after.

The controls of the copy's audit are planted after the mitigations, into the copy as it is. These are planted before,
into the original, and go the way that the training patients went: whether the membership score still tells them shows
what the mitigations did to patients of whom it is known that they were learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from reid_audit.arch.target import Target
from reid_audit.audit.attack_runs import generator_for
from reid_audit.audit.canary import with_canaries
from reid_audit.audit.cohorts import Canaries, cohort_ids
from reid_audit.budget import OutOfTime
from reid_audit.cohort import Cohort
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.mitigate.apply import mitigated
from reid_audit.mitigate.interface import Given
from reid_audit.network.answers import outputs_of, taught_answers
from reid_audit.network.reading import Inputs
from reid_audit.observer import stage
from reid_audit.records import CarriedPatients, Measured
from reid_audit.reference.lesson import PASS
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.inference import membership_control
from reid_audit.score.patients import Owners


def carried(
    original: Target, holdout: Cohort[Stack], names: Sequence[str], given: Given, *, count: int
) -> CarriedPatients | None:
    """Share of ``count`` planted hold-out patients recognised at 1 % false positives, before and after the mitigations
    ``names``; None where there are too few patients or no time for it. Without reference models."""
    canaries = Canaries.choose(holdout, count, given.seed)
    if canaries is None:
        return None
    try:
        with stage(given.pace.observer, "planted patients through the mitigations"):
            planted = _planted(original, holdout, canaries, given)
            copy, _ = mitigated(planted, names, given)
            found = [_recognised(each, holdout, canaries, given) for each in (planted, copy.target)]
    except OutOfTime:
        return None
    before, after = found
    return None if before is None or after is None else CarriedPatients(patients=count, before=before, after=after)


def _planted(original: Target, holdout: Cohort[Stack], canaries: Canaries, given: Given) -> Target:
    """The original after it learned the canaries' films: with their labels where those are known, else dealt out."""
    rows = torch.from_numpy(canaries.films)
    wanted = None
    if original.match.head not in ("features", "segmentation"):
        with torch.no_grad():
            parts = blocks(holdout.images, PASS)
            outputs = torch.cat([outputs_of(original.module(given.prepare(part))) for part in parts])
        wanted = taught_answers(original.match.head, outputs, holdout.labels)
    return with_canaries(
        original,
        given.prepare(holdout.images[rows]),
        generator_for(given.seed, "canary labels"),
        wanted=None if wanted is None else wanted[rows.to(wanted.device)],
        pace=given.pace,
    )


def _recognised(target: Target, holdout: Cohort[Stack], canaries: Canaries, given: Given) -> float | None:
    rows: NDArray[np.int64] = np.concatenate([canaries.films, canaries.others])
    owners = Owners(cohort_ids("H", holdout.patients[rows]), np.arange(len(rows)) < len(canaries.films))
    inputs = Inputs(holdout.images, given.prepare, torch.from_numpy(rows))
    scores = membership_scores(target, inputs, holdout.labels[rows], pace=given.pace, corrected=False)
    found = membership_control(scores.scores, owners)
    return found.value if isinstance(found, Measured) else None
