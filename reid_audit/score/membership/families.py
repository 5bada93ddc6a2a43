"""All membership scores that a network offers for given images; a larger score is more member-like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace, unhurried
from reid_audit.errors import AuditError
from reid_audit.network.answers import right, taught_answers
from reid_audit.network.batchnorm import ImageMoments, statistics_layers
from reid_audit.network.difference import Displacement
from reid_audit.network.heads import classifier
from reid_audit.network.reading import Inputs, Reading, read, read_moments
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.consistency import VIEWS, consistency
from reid_audit.score.membership.difference import spans
from reid_audit.score.membership.loss import losses
from reid_audit.score.membership.margin import margins
from reid_audit.score.membership.moments import collective
from reid_audit.score.membership.remoteness import remoteness
from reid_audit.score.membership.stationarity import stationarity


@dataclass(frozen=True, slots=True, eq=False)
class MembershipScores:
    """The membership scores of N given images, and how they came about."""

    scores: dict[str, Floats]
    """Name of the score family -> [N] scores; larger is more member-like."""
    explaining: float | None = None
    """How many images, effectively, share the explanation of the stored statistics; None without BatchNorm."""
    count: int = 0
    """N: all of the images asked about, or the first of them where time was short."""
    corrected: bool = True
    """False where there was no time for the correction of the training batch size."""
    right: Floats | None = None
    """[N] how right the network is about an image, 1 for entirely; None where the training labels are not known."""
    outputs: Tensor | None = None
    """[N, K] what it says of them; None where it gives features."""

    def __post_init__(self) -> None:
        """Raises AuditError where a score is not a finite number: it would compare as smaller than every other."""
        unknown = {name: int((~np.isfinite(each)).sum()) for name, each in self.scores.items()}
        missing = {name: count for name, count in unknown.items() if count}
        if missing:
            raise AuditError(
                f"membership has no finite number for {min(missing.values())} of {self.count} films or more",
                closest=", ".join(f"{name}: {count}" for name, count in missing.items()),
                remedy="see what the network answers to blank films and to the extremes of [preprocess], and leave out "
                "films that it cannot answer; of references, lower the rate in [references]",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """How the network came from a known base, and ordinary images to compare with."""

    path: Displacement
    ordinary: Iterable[Tensor] = ()
    """Batches [B, C, H, W] of the prior as network input."""


def membership_scores(
    target: Target,
    inputs: Inputs,
    labels: NDArray[np.str_],
    *,
    change: Change | None = None,
    pace: Pace | None = None,
    rest: Callable[[int], float] | None = None,
    corrected: bool = True,
) -> MembershipScores:
    """Membership scores of images under the target's weights.

    Statistics of BatchNorm layers where there are any, the classifier's stationarity where there are none, the margin
    of every classifier, the embeddings of networks that give numbers or have no head, the loss where training labels
    [N] are given ("" where unknown), the weight difference where the ``change`` from a known base is given. Everything
    but the difference comes from one pass, from a second one for the correction of the training batch size
    (``corrected``), and from one more for each view of the embeddings.

    ``rest`` tells how many seconds the scoring of so many images takes once they have been seen. Where it is given, the
    pass ends in time for it, and there is no second one without time. Raises OutOfTime: what is not finished says
    nothing of anybody.
    """
    pace = pace or unhurried()
    has_statistics, began = bool(statistics_layers(target.module)), pace.meter.elapsed()
    embeds = not has_statistics or not has_certainty(target)
    found = read(target, inputs, pace, stage="membership: films", features=embeds, rest=rest)
    inputs, took = inputs.first(found.count), pace.meter.elapsed() - began
    scores: dict[str, Floats] = {}
    explaining = None
    if has_statistics:
        corrected = corrected and (rest is None or took + rest(found.count) < pace.meter.left())

        def trained_with(size: int) -> list[ImageMoments]:
            return read_moments(target.module, inputs, pace, stage=f"membership: batches of {size}", trained_with=size)

        explanation = collective(found.moments, trained_with if corrected else None, pace)
        scores["moments"], explaining = explanation.evidence, explanation.explaining
    elif (directions := directions_of(target, found, pace)) is not None:
        scores["stationarity"] = directions
    if change is not None and (within := spans(change.path, inputs, change.ordinary, pace)) is not None:
        scores["difference"] = within.double().cpu().numpy()
    if not has_certainty(target) and found.features is not None:
        scores |= of_embeddings(target, inputs, found.features, pace)
    if found.logits is not None:
        scores |= of_answers(target, found.logits, labels[: found.count])
    if found.certain is not None:
        scores["margin"] = found.certain.double().cpu().numpy()
    known = None if found.logits is None else answered_right(target, found.logits, labels[: found.count])
    return MembershipScores(scores, explaining, found.count, corrected, known, found.logits)


def of_answers(target: Target, logits: Tensor, labels: NDArray[np.str_]) -> dict[str, Floats]:
    """The families that look at the network's outputs [N, K] alone."""
    scores: dict[str, Floats] = {}
    if (firm := margins(target.match.head, logits)) is not None:
        scores["margin"] = firm.double().cpu().numpy()
    if (loss := losses(target.match.head, logits, labels)) is not None:
        scores["loss"] = -loss.double().cpu().numpy()
    return scores


def of_embeddings(target: Target, inputs: Inputs, features: Tensor, pace: Pace) -> dict[str, Floats]:
    """The families that look at the embeddings [N, D] of a network whose answers have no certainty.

    Raises OutOfTime.
    """
    views = [
        read(target, inputs.seen_as(view), pace, stage="membership: views", features=True).features for view in VIEWS
    ]
    alike = consistency(features, [view for view in views if view is not None])
    found = {"consistency": alike, "remoteness": remoteness(features)}
    return {name: score.double().cpu().numpy() for name, score in found.items()}


def has_certainty(target: Target) -> bool:
    """Whether the network's answers can be more or less certain: classes and yes/no answers, not numbers."""
    return target.match.head not in ("features", "regression")


def answered_right(target: Target, logits: Tensor, labels: NDArray[np.str_]) -> Floats | None:
    """[N] 1 where an image is answered as it is labelled, all findings at once, else 0; of a network that gives a
    number, 1 less the error over the labels' mean distance from their median. None without labels that fit."""
    kind = target.match.head
    wanted = taught_answers(kind, logits, labels)
    if wanted is None:
        return None
    found = right(kind, logits, wanted)
    if kind == "regression":
        found = 1.0 + found / (wanted - wanted.median()).abs().mean().clamp_min(1e-12)
    elif kind == "sigmoid":
        found = (found == 1.0).to(found)
    return found.double().cpu().numpy()


def directions_of(target: Target, found: Reading, pace: Pace) -> Floats | None:
    """[N] stationarity of the classifier; None where the network has none."""
    head = classifier(target)
    if head is None or found.features is None or found.logits is None:
        return None
    return stationarity(target.match.head, head, found.features, found.logits, pace)
