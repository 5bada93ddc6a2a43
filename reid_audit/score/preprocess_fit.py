"""preprocess_fit: do the training films, preprocessed as the audit does it, look to the network like what it was fed?

Every other control is planted under the audit's own preprocessing and shares its errors: with wrong grey values a
network that knows its films by heart looks clean, and canaries are found all the same. This one asks the stored
statistics, which know the true preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.imaging.augmentation import AUGMENTATIONS, Augmentation
from reid_audit.network.familiarity import FirstLayers, first_layers
from reid_audit.network.search import FilmsAt, as_trained, best_values
from reid_audit.preprocess import to_network
from reid_audit.records import Measured, Measurement, Metric, PreprocessSpec, Reason, Unmeasured

UNEXPLAINED = 0.02
"""Misfit that may be left unexplained however many films there are: an error of a seventh in scale."""
FLOOR, TIMES, CEILING = 0.001, 9.0, 0.01
"""Allowed above the least misfit known: ``FLOOR`` and ``TIMES`` that misfit, at most ``CEILING``. A network that knows
its films by heart explains them to 1e-5, and then a thirtieth of the scale is an error; statistics of a network that
was trained with care are further from any films, and a tenth is. Larger errors hide membership
(docs/preprocessing.md)."""
DRAWS = 99
FEWEST = 4


def preprocess_fit(
    target: Target,
    films_at: FilmsAt,
    ways: Sequence[PreprocessSpec],
    *,
    count: int,
    augmentations: tuple[Augmentation, ...] = AUGMENTATIONS,
    rng: np.random.Generator,
    pace: Pace | None = None,
) -> Measurement:
    """How much worse the preprocessing in use explains the first statistics layers than the best one known.

    films_at renders at most ``count`` training films, each of which may have been augmented. ways: the preprocessing in
    use, then those that may explain the films better, beside the one in use with its values fitted to them. The value
    is the difference of mean square deviations over what is allowed: 0 where nothing fits better, 1 at the limit. The
    control is the least misfit. Unmeasured where that is more than films of this kind, in random halves, leave to each
    other (the 99th percentile of ``DRAWS``) and more than ``UNEXPLAINED``: then these are not the films the network was
    trained on, or their way into it is not among those tried. Raises OutOfTime where the pace ends first.
    """
    used, *others = ways
    films = films_at(used, count)
    if len(films) < FEWEST:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.TOO_FEW_REFERENCE)
    try:
        refitted = best_values(target, used, films, pace)
    except ValueError:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS)

    def misfit(spec: PreprocessSpec) -> float:
        kinds = (as_trained(films_at, spec, kind, count) for kind in augmentations)
        return min(_seen(target, images, spec, pace).misfit() for images in kinds)

    found = misfit(used)
    least = min([found, *(misfit(spec) for spec in {refitted, *others} - {used})])
    if least > max(UNEXPLAINED, _between_halves(target, films_at, refitted, count, rng, pace)):
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.PREPROCESS_UNEXPLAINED)
    allowed = min(CEILING, FLOOR + TIMES * least)
    return Measured(metric=Metric.PREPROCESS_FIT, value=(found - least) / allowed, control=least, n=len(films))


def _seen(target: Target, images: Tensor, spec: PreprocessSpec, pace: Pace | None) -> FirstLayers:
    device = next(target.module.parameters()).device
    with torch.no_grad():
        return first_layers(target, to_network(images.to(device), spec, target.match.channels), pace=pace)


def _between_halves(
    target: Target, films_at: FilmsAt, spec: PreprocessSpec, count: int, rng: np.random.Generator, pace: Pace | None
) -> float:
    """99th percentile of the misfit of one random half of the films, augmented, to the statistics of the other."""
    plain = _seen(target, films_at(spec, count), spec, pace)
    moved = _seen(target, as_trained(films_at, spec, "moved", count), spec, pace)
    draws = []
    for _ in range(DRAWS):
        order = torch.from_numpy(rng.permutation(plain.count))
        one, two = order[: plain.count // 2], order[plain.count // 2 :]
        draws.append(moved.rows(one).misfit(plain.rows(two)))
    return float(np.quantile(draws, 0.99))
