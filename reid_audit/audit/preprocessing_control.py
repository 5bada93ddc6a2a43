"""``preprocess_fit`` of the training films, once they may be opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import Chosen, Specimens, answered, known_side, specimens
from reid_audit.audit.request import Films
from reid_audit.budget import OutOfTime, Pace
from reid_audit.cohort import Frame
from reid_audit.imaging.augmentation import AUGMENTATIONS
from reid_audit.network.preprocessing import FilmsAt, Fitted, fit_preprocess
from reid_audit.records import Measured, Measurement, Metric, PreprocessSpec, Reason, Unmeasured
from reid_audit.score.calibration import Floats
from reid_audit.score.preprocess_fit import preprocess_fit

FILMS = 128
"""Training films that the control looks at."""
NATS = 0.01
"""Loss per film that another preprocessing may spare them."""
ONE_SIDED = 1.645
"""Standard errors below the mean where its one-sided 95 % interval ends."""


@dataclass(frozen=True, slots=True, eq=False)
class FitControl:
    """The control, and the preprocessing under which the training films explain the network best."""

    measurement: Measurement
    best: PreprocessSpec | None = None


def preprocessing_control(
    target: Target, chosen: Chosen, films: Films, rng: np.random.Generator, pace: Pace | None = None
) -> FitControl:
    """The control by the stored statistics, or else by the loss under the training labels where these are known.

    The preprocessing is searched once more, with training films alone: of a network that knows them by heart they tell
    it exactly. What is found may only withhold a PASS; the audit does not use it, since it knows who is a member. A
    search that ``pace`` ends too early is no control.
    """
    if pace is not None and pace.meter.exhausted() is not None:
        return FitControl(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.BUDGET))
    frame = Frame(chosen.spec, chosen.spec.side or target.match.side, chosen.channels)
    seen = specimens(target, films, ("reference",), frame)
    if seen is None:
        return FitControl(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_REFERENCE))
    if chosen.fit is not None and chosen.fit.by == "answers":
        return FitControl(by_answers(target, seen, chosen.spec, chosen.fit.best), chosen.fit.best)
    try:
        again = searched_again(target, seen, pace)
        measured = held_against(target, chosen, seen, again, rng, pace)
    except OutOfTime:
        return FitControl(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.BUDGET))
    return FitControl(measured, None if again is None else again.best)


def searched_again(target: Target, seen: Specimens, pace: Pace | None = None) -> Fitted | None:
    """The whole search with ``seen``, training films alone; None where they come in one frame only or the statistics
    cannot be asked. Raises OutOfTime where it does not end."""
    if seen.fixed is not None:
        return None
    name = Metric.PREPROCESS_FIT.value
    again = fit_preprocess(target, _few(seen), side=known_side(target), scalings=seen.scalings(), pace=pace, stage=name)
    if again is not None and not again.complete:
        raise OutOfTime(name)
    return again


def held_against(
    target: Target,
    chosen: Chosen,
    seen: Specimens,
    again: Fitted | None,
    rng: np.random.Generator,
    pace: Pace | None = None,
) -> Measurement:
    """What is used, beside what the pooled films say and what the training films say again. Raises OutOfTime."""
    found = (None if again is None else again.best, None if chosen.fit is None else chosen.fit.best)
    others = [spec for spec in found if spec is not None and seen.fixed is None]
    kinds = AUGMENTATIONS if seen.fixed is None else ("none", "moved")
    ways = (chosen.spec, *others)
    return preprocess_fit(target, seen.at, ways, count=FILMS, augmentations=kinds, rng=rng, pace=pace)


def _few(seen: Specimens) -> FilmsAt:
    return lambda spec, count: seen.at(spec, min(count, FILMS))


def by_answers(target: Target, seen: Specimens, used: PreprocessSpec, best: PreprocessSpec) -> Measurement:
    """Loss that the preprocessing in use costs the training films, over ``NATS``: lower end of the one-sided 95 %
    interval."""
    lost, least = _losses(target, seen, used), _losses(target, seen, best)
    if lost is None or least is None:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS)
    more = lost - least
    low = float(more.mean() - ONE_SIDED * more.std() / np.sqrt(more.size))
    return Measured(
        metric=Metric.PREPROCESS_FIT, value=max(0.0, low) / NATS, control=float(least.mean()), n=int(more.size)
    )


def _losses(target: Target, seen: Specimens, spec: PreprocessSpec) -> Floats | None:
    if seen.labels is None:
        return None
    films = seen.at(spec, FILMS)
    found = answered(target, films, seen.labels[: len(films)], spec)
    return None if found is None else found.double().cpu().numpy()
