"""The membership question of ``preprocess_fit``: does another preprocessing show more of it?

What a wrong preprocessing may hide is membership, so membership is asked, of the answers alone and without labels: a
network is more certain of films it was trained on, and most of all in the frame of its training. Of a network that
learned hundreds of films in minibatches the stored statistics hardly show a crop; its certainty does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import Specimens, known_side
from reid_audit.budget import Pace, unhurried
from reid_audit.network.answers import outputs_under
from reid_audit.network.geometries import (
    SIDES,
    USUAL,
    at_side,
    framings,
    neighbours,
    parts,
    standardised_otherwise,
    turns,
    whole,
)
from reid_audit.network.heads import certainty
from reid_audit.network.search import ALL, count_at
from reid_audit.preprocess import prepared
from reid_audit.records import Measured, Measurement, Metric, PreprocessSpec, Reason, Unmeasured
from reid_audit.score.calibration import Floats, auc
from reid_audit.score.membership.gain import auc_gain
from reid_audit.score.membership.remoteness import remoteness

HIDDEN = 0.03
"""Area under the ROC curve that another preprocessing may add. The crop of docs/preprocessing.md hides 0.09."""
FIRST = 128
"""Films of either cohort that choose the rival, at most; the others judge it."""
FEWEST = 16
"""Films of either cohort that may choose, and judge, it."""
LOOKED_AT = 4
"""Films by which two ways of preparing them are compared."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """What was measured, and the preprocessing that shows most of membership."""

    measurement: Measurement
    best: PreprocessSpec | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Cohorts:
    """Films of the training and of the hold-out, each cohort in an order of chance."""

    target: Target
    members: Specimens
    strangers: Specimens
    pace: Pace

    def first(self, used: PreprocessSpec) -> int:
        """How many films of either cohort choose the rival: half of the smaller cohort at most, few at large sides."""
        return min(count_at(used, FIRST), min(self.members.size, self.strangers.size) // 2)

    def certainties(self, spec: PreprocessSpec, most: int) -> tuple[Floats, Floats] | None:
        """How certain the network is of the first films of either cohort, or of a network without a head how remote
        their embeddings are: [at most ``most``] each; None where it gives numbers. Raises OutOfTime."""
        self.pace.check(Metric.PREPROCESS_FIT.value)
        members, strangers = (side.at(spec, most) for side in (self.members, self.strangers))
        outputs = outputs_under(self.target, torch.cat([members, strangers]), spec)
        if outputs is None:
            return None
        head = self.target.match.head
        certain = remoteness(outputs) if head == "features" else certainty(head, outputs)
        if certain is None:
            return None
        scores = certain.double().cpu().numpy()
        return scores[: len(members)], scores[len(members) :]


def hidden_membership(
    target: Target,
    used: PreprocessSpec,
    others: Sequence[PreprocessSpec],
    members: Specimens,
    strangers: Specimens,
    pace: Pace | None = None,
) -> Hidden:
    """By how much another preprocessing than ``used`` shows more of who was in the training.

    The rivals are ``others``, other ways to frame a film, turned or not, and, where the weights do not tell the side,
    some at sides around it. The first films of either cohort choose the best of them, the rest judge it, so that the
    choice does not flatter it. The value is what it adds to the AUC of the answers' certainty, at the lower end of its
    one-sided 95 % interval, over ``HIDDEN``; 0 where none adds anything. Unmeasured where the answers have no certainty
    or the films are too few. Raises OutOfTime.
    """
    cohorts = Cohorts(target, members, strangers, pace or unhurried())
    ways, frames = (reframed(target, used), framings(used)) if members.fixed is None else ((), ())
    lying = (way for frame in (used, *frames) for way in turns(frame, members.turns()))
    alone = (*standardised_otherwise(used), *_stretched(used, members))
    rivals = distinct(used, (*others, *lying, *ways, *alone), members)
    first = cohorts.first(used)
    if first < FEWEST:
        return Hidden(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.TOO_FEW_REFERENCE))
    found = {spec: cohorts.certainties(spec, min(first, count_at(spec, FIRST))) for spec in (used, *rivals)}
    areas = {spec: surely_shown(*scores) for spec, scores in found.items() if scores is not None}
    if not areas:
        return Hidden(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS))
    best = max(areas, key=areas.__getitem__)
    if best == used:
        return Hidden(Measured(metric=Metric.PREPROCESS_FIT, value=0.0, n=sum(map(len, found[used] or ()))))
    return Hidden(_judged(cohorts, used, best), best)


def surely_shown(members: Floats, strangers: Floats) -> float:
    """The area under the ROC curve less the deviation that chance would give it (Mann and Whitney 1947): of a few films
    at a large side some rival always shows much."""
    return auc(members, strangers) - math.sqrt((1 / len(members) + 1 / len(strangers)) / 12)


def reframed(target: Target, used: PreprocessSpec) -> list[PreprocessSpec]:
    """Other framings and parts of the films at the side of ``used`` and, where the weights do not tell the side, its
    own and whole films at those beside it, half and twice of it, and at the usual ones: of statistics that every side
    explains alike the search may have ended far away."""
    ways = [*framings(used), *parts(used)]
    if known_side(target) is not None or used.side is None:
        return ways
    far = {side for side in (used.side // 2, 2 * used.side, *USUAL) if SIDES[0] <= side <= SIDES[-1]} - {used.side}
    moved = [*neighbours(used), *(at_side(used, side) for side in sorted(far))]
    return [*ways, *(way for place in moved for way in (place, whole(place)))]


def _stretched(used: PreprocessSpec, members: Specimens) -> list[PreprocessSpec]:
    """8-bit films stretched one by one, or not."""
    if used.scaling is None:
        return [used.model_copy(update={"scaling": scaling}) for scaling in members.late()]
    return [used.model_copy(update={"scaling": None})] if used.scaling in members.late() else []


def distinct(used: PreprocessSpec, ways: Iterable[PreprocessSpec], images: Specimens) -> list[PreprocessSpec]:
    """Those of ``ways`` that give a network something else than ``used``, and than each other: of square films many
    framings are one."""
    found: dict[object, PreprocessSpec] = {}
    for way in (used, *ways):
        pixels = prepared(images.at(way, LOOKED_AT), way).numpy().tobytes()
        found.setdefault((pixels, way.mean, way.std, way.invert), way)
    return [way for way in found.values() if way != used]


def _judged(cohorts: Cohorts, used: PreprocessSpec, best: PreprocessSpec) -> Measurement:
    """What the films say that did not choose: how much more of membership they show under ``best`` than under ``used``,
    over ``HIDDEN``. Raises OutOfTime."""
    first = cohorts.first(used)
    most = min(count_at(spec, ALL) for spec in (used, best))
    ours, theirs = cohorts.certainties(used, most), cohorts.certainties(best, most)
    if ours is None or theirs is None or min(len(side) - first for side in ours) < FEWEST:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.TOO_FEW_REFERENCE)
    members, strangers = (len(side) - first for side in ours)
    gain = auc_gain(
        np.concatenate([side[first:] for side in theirs]),
        np.concatenate([side[first:] for side in ours]),
        np.arange(members + strangers) < members,
    )
    value = max(0.0, gain.low) / HIDDEN
    return Measured(metric=Metric.PREPROCESS_FIT, value=value, n=members + strangers)
