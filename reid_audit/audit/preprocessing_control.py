"""``preprocess_fit`` of the training films, once they may be opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.audit.hidden_membership import hidden_membership
from reid_audit.audit.hidden_statistics import hidden_in_statistics
from reid_audit.audit.preprocessing import SHOWN, Chosen, Specimens, answers_fit, known_side, specimens
from reid_audit.audit.request import Films
from reid_audit.budget import OutOfTime, Pace
from reid_audit.cohort import Frame
from reid_audit.imaging.augmentation import AUGMENTATIONS
from reid_audit.network.answer_fit import answer_errors
from reid_audit.network.answers import outputs_under
from reid_audit.network.heads import HeadKind
from reid_audit.network.preprocessing import fit_preprocess
from reid_audit.network.search import FilmsAt, Fitted
from reid_audit.records import Measured, Measurement, Metric, PreprocessFit, PreprocessSpec, Reason, Unmeasured
from reid_audit.score.calibration import ONE_SIDED
from reid_audit.score.preprocess_fit import preprocess_fit

FILMS = 128
"""Training films that the control looks at."""
ERRORS = 0.01
"""Mean error that another preprocessing may spare them, where it is judged by answers."""
BESIDE_STATISTICS = 0.05
"""The same where the statistics judge too. An interpolation other than the training's costs 0.02 and less, a crop that
takes away 0.1 of membership AUC twice as much as this (docs/preprocessing.md)."""
DRAWS, LEVEL = 199, 0.01
"""Shuffled labels, and the p up to which the answers are taken to tell the labels."""


@dataclass(frozen=True, slots=True, eq=False)
class FitControl:
    """The control, and the preprocessing under which the training films explain the network best."""

    measurement: Measurement
    best: PreprocessSpec | None = None


def preprocessing_control(
    target: Target, chosen: Chosen, films: Films, rng: np.random.Generator, pace: Pace | None = None
) -> FitControl:
    """The control by the stored statistics, by the answers under the training labels and by membership.

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
    strangers = specimens(target, films, ("holdout",), frame)
    try:
        again = search_of(chosen)(target, seen, pace)
        return control_of(target, chosen, again, seen, strangers, rng, pace)
    except OutOfTime:
        return FitControl(Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.BUDGET))


def search_of(chosen: Chosen) -> Callable[[Target, Specimens, Pace | None], Fitted | None]:
    """The search that the audit's own search was, to be made once more with training films."""
    return answered_again if chosen.fitted_by_answers else searched_again


def control_of(
    target: Target,
    chosen: Chosen,
    again: Fitted | None,
    seen: Specimens,
    strangers: Specimens | None,
    rng: np.random.Generator,
    pace: Pace | None = None,
) -> FitControl:
    """The control after the search ``again`` with ``seen``, training films: by statistics, by answers where there are
    labels, and beside ``strangers``, films of the hold-out, by membership. Raises OutOfTime."""
    if chosen.fitted_by_answers:
        measured = by_answers(target, chosen, seen, again, rng)
    else:
        measured = stricter(
            held_against(target, chosen, seen, again, rng, pace),
            by_answers(target, chosen, seen, again, rng, allowed=BESIDE_STATISTICS),
        )
    best = None if again is None else again.best
    if strangers is None or not isinstance(measured, Measured):
        return FitControl(measured, best)
    others = (*_ways(chosen, again)[1:], *_likely(chosen.fit), *_likely(again)) if seen.fixed is None else ()
    found = [hidden_membership(target, chosen.spec, others, seen, strangers, pace)]
    if not chosen.fitted_by_answers:
        found.append(hidden_in_statistics(target, chosen.spec, _ways(chosen, again)[1:], seen, strangers, pace))
    for hidden in found:
        if stricter(measured, hidden.measurement) is hidden.measurement:
            measured, best = hidden.measurement, hidden.best
    return FitControl(measured, best)


def searched_again(target: Target, seen: Specimens, pace: Pace | None = None) -> Fitted | None:
    """The whole search with ``seen``, training films alone; None where they come in one frame only or the statistics
    cannot be asked. Raises OutOfTime where it does not end."""
    if seen.fixed is not None:
        return None
    name = Metric.PREPROCESS_FIT.value
    again = fit_preprocess(target, _few(seen), side=known_side(target), ways=seen.ways(), pace=pace, stage=name)
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
    kinds = AUGMENTATIONS if seen.fixed is None else ("none", "moved")
    ways = _ways(chosen, again) if seen.fixed is None else (chosen.spec,)
    return preprocess_fit(target, seen.at, ways, count=FILMS, augmentations=kinds, rng=rng, pace=pace)


def _few(seen: Specimens) -> FilmsAt:
    return lambda spec, count: seen.at(spec, min(count, FILMS))


def answered_again(target: Target, seen: Specimens, pace: Pace | None = None) -> Fitted | None:
    """The whole search by answers with ``seen``, training films alone; None where they have no labels. Raises OutOfTime
    where it does not end."""
    name = Metric.PREPROCESS_FIT.value
    ways = seen.ways() if seen.fixed is None else None
    again = answers_fit(target, seen, known_side(target), pace, name, ways=ways)
    if again is not None and not again.complete:
        raise OutOfTime(name)
    return again


def stricter(first: Measurement, second: Measurement) -> Measurement:
    """The larger of both values, where the second says something.

    After the statistics the answers are asked, and then membership: they show a wrong frame of a network that learned
    hundreds of films in minibatches, whose statistics are not exactly those of any films. Answers that do not tell the
    labels leave the value of the statistics as it is: a PASS is withheld for them all the same, as the generalisation
    gap is not measured then (``labels_unanswered``).
    """
    if isinstance(first, Measured) and isinstance(second, Measured) and second.value > first.value:
        return second
    return first


def by_answers(
    target: Target,
    chosen: Chosen,
    seen: Specimens,
    again: Fitted | None,
    rng: np.random.Generator,
    *,
    allowed: float = ERRORS,
) -> Measurement:
    """How much less well the training films are answered under the preprocessing in use than under the best known.

    The value is the difference of the mean errors over ``allowed``, at the lower end of its one-sided 95 %
    interval; the control is the least mean. Unmeasured where that is within the limit and the answers do not tell the
    labels at all: a permutation test of the mean over ``DRAWS`` shuffled labels, at ``LEVEL``. Then nothing shows that
    the preprocessing is right.
    """
    if seen.labels is None:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS)
    head, labels = target.match.head, seen.labels[:FILMS]
    outputs = [outputs_under(target, seen.at(spec, FILMS), spec) for spec in _ways(chosen, again)]
    found = [None if each is None else answer_errors(head, each, labels) for each in outputs]
    known = [each.double().numpy() for each in found if each is not None]
    if found[0] is None or outputs[0] is None:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_DATA_STATISTICS)
    used, least = known[0], min(known, key=lambda errors: float(errors.mean()))
    more = used - least
    low = float(more.mean() - ONE_SIDED * more.std() / np.sqrt(more.size))
    if low <= allowed and _by_chance(head, outputs[0], labels, rng) > LEVEL:
        return Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.PREPROCESS_UNEXPLAINED)
    return Measured(
        metric=Metric.PREPROCESS_FIT, value=max(0.0, low) / allowed, control=float(least.mean()), n=int(more.size)
    )


def _ways(chosen: Chosen, again: Fitted | None) -> tuple[PreprocessSpec, ...]:
    """The preprocessing in use, then those that may be better."""
    others = (None if chosen.fit is None else chosen.fit.best, None if again is None else again.best)
    return (chosen.spec, *(spec for spec in others if spec is not None))


def _likely(fit: PreprocessFit | Fitted | None) -> list[PreprocessSpec]:
    """What fitted best, each with its own values: where a search went astray, one of them need not have."""
    plain = () if fit is None else (tried for tried in fit.candidates if tried.augmentation == "none")
    return [tried.spec for tried in sorted(plain, key=lambda tried: tried.misfit)[:SHOWN]]


def _by_chance(head: HeadKind, outputs: Tensor, labels: NDArray[np.str_], rng: np.random.Generator) -> float:
    """p of answering the labels this well by chance: each draw shuffles them and assigns them to outputs anew."""
    means = []
    for words in (labels, *(rng.permutation(labels) for _ in range(DRAWS))):
        errors = answer_errors(head, outputs, words)
        means.append(np.inf if errors is None else float(errors.mean()))
    return float(np.mean(np.asarray(means) <= means[0]))
