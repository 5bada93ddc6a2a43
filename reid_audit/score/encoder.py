"""Linkage as a re-identification encoder sees it: a network that was trained to tell people apart by their films.

The encoder takes the place of the match space and everything else stays as it is (linkage.py): it ranks all patients
for each reconstruction (Packhaeuser et al. 2022: such a network finds a person again among thousands of chest films).
It is a second look at the same question, so its p is corrected for two looks (Bonferroni), and it stands beside the
first: the match space decides as before, and what the encoder finds can only be added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from reid_audit.imaging.stack import Stack, blocks
from reid_audit.network.heads import logits_of
from reid_audit.network.reading import batch_size
from reid_audit.preprocess import to_network
from reid_audit.records import EncoderCard, Measured, Measurement, Metric, PreprocessSpec, Unmeasured
from reid_audit.score.alone import Images
from reid_audit.score.comparison import Comparison
from reid_audit.score.exchangeability import exchangeability
from reid_audit.score.linkage import LinkageOutcome, link
from reid_audit.score.sensitivity import scorer_sensitivity
from reid_audit.score.similarity import MatchSpace, resized, without_hubs

LOOKS = 2
"""Scorers that ask whether a reconstruction is somebody: the match space and the encoder."""
FLAGGED, DIFFERENT = 0.05, 0.01
"""Largest p of the attack without the weights, and of the two-sample test, at which the encoder does not decide."""
SAME: dict[Metric, Metric] = {
    Metric.LINKAGE_P: Metric.ENCODER_LINKAGE_P,
    Metric.REIDENTIFIED_PATIENTS: Metric.ENCODER_REIDENTIFIED_PATIENTS,
    Metric.IDENTIFICATION_RATE: Metric.ENCODER_IDENTIFICATION_RATE,
}
"""What the match space measures -> the same by the encoder."""
ENCODER = tuple(SAME.values())


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A network whose outputs are the embedding of a film; a space of comparison as the match space is one."""

    module: nn.Module
    spec: PreprocessSpec
    """Grey values; films are resized to ``card.side``."""
    card: EncoderCard
    space: MatchSpace
    """Square-root-whitened principal components of embeddings of the prior's images, each as an image of one pixel."""
    seconds: float = 0.0
    """Seconds of one film, as the trial took."""

    @property
    def side(self) -> int:
        """Pixels of the square input."""
        return self.card.side

    def embed(self, images: Stack) -> Tensor:
        """[N, C, H, W] in [0, 1] -> [N, K] unit vectors float32 on the CPU, so that inner products are cosines."""
        return self.placed(embeddings_of(self.module, images, self.spec, self.card))

    def placed(self, embedded: Tensor) -> Tensor:
        """[N, K] unit vectors of embeddings [N, D]."""
        return self.space.embed(embedded[:, :, None, None])

    def scores(self, images: Stack) -> Tensor:
        """The same: what the two-sample test compares."""
        return self.embed(images)


def embeddings_of(module: nn.Module, images: Stack, spec: PreprocessSpec, card: EncoderCard) -> Tensor:
    """[N, D] float32 on the CPU: what ``module`` says of images [N, C, H, W] in [0, 1]."""
    device = next(module.parameters()).device
    size = batch_size(torch.empty(0, 1, card.side, card.side))
    with torch.no_grad():
        parts = [
            logits_of(module(to_network(resized(part, card.side).to(device), spec, card.channels)))
            for part in blocks(images, size)
        ]
    return torch.cat(parts).float().cpu()


def embedded_by(encoder: Encoder, images: Tensor, rebuilt: Tensor | None = None) -> Tensor:
    """[R, K] in the encoder's space: images [R, C, H, W], or embeddings [R, D] rebuilt from a head on this encoder."""
    if rebuilt is not None and rebuilt.shape[1] == encoder.card.dimensions:
        return encoder.placed(rebuilt)
    return encoder.embed(images)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What the encoder found. ``measurements`` and ``card`` may be published."""

    measurements: tuple[Measurement, ...]
    linkage: LinkageOutcome | None = None
    """Restricted."""
    card: EncoderCard | None = None
    comparison: Comparison | None = None
    """The films as the encoder sees them, for further reconstructions."""
    encoder: Encoder | None = None
    decides: bool = False
    """Whether nothing speaks against the encoder."""


def encoded_linkage(comparison: Comparison, embedded: Tensor, rng: np.random.Generator, level: float) -> LinkageOutcome:
    """The linkage tests of embeddings [R, K] in the space of ``comparison``, by one scorer alone."""
    scores = without_hubs(embedded @ comparison.embedded.T).double().numpy()
    return link(scores, comparison.owners, rng, level=level)


def encoder_linkage(
    comparison: Comparison,
    encoder: Encoder,
    images: Images,
    rng: np.random.Generator,
    *,
    level: float,
    rebuilt: Tensor | None = None,
) -> Encoded:
    """Linkage by the encoder, and whether the encoder may be believed.

    An encoder that tells training from hold-out films (it has seen one of them), or under which the attack without the
    weights finds training patients, gives indicators only. rebuilt: ``embedded_by``.
    """
    seen = replace(comparison, space=encoder)
    made = embedded_by(encoder, images.made.images, rebuilt)
    control = encoder.embed(images.control.images[: len(made)])
    found, null = (encoded_linkage(seen, each, rng, level) for each in (made, control))
    alike = exchangeability(seen, rng)
    decides = null.p > FLAGGED and isinstance(alike, Measured) and alike.value > DIFFERENT
    sharp = scorer_sensitivity(seen, images.prior, rng)
    card = encoder.card
    if isinstance(sharp, Measured):
        card = card.model_copy(update={"found": sharp.value, "chance": sharp.control})
    return Encoded(encoded_measurements(found, decides=decides), found, card, seen, encoder, decides)


def encoded_measurements(found: LinkageOutcome, *, decides: bool) -> tuple[Measurement, ...]:
    """The measurements of ``SAME`` under the encoder's names, the p corrected for two looks."""
    named = {m.metric: m for m in found.measurements}
    return tuple(_renamed(named[first], second, decides=decides) for first, second in SAME.items())


def _renamed(measurement: Measurement, metric: Metric, *, decides: bool) -> Measurement:
    if isinstance(measurement, Unmeasured):
        return Unmeasured(metric=metric, reason=measurement.reason)
    changes: dict[str, object] = {"metric": metric, "indicator": measurement.indicator or not decides}
    if metric is Metric.ENCODER_LINKAGE_P:
        changes["value"] = min(1.0, LOOKS * measurement.value)
    return measurement.model_copy(update=changes)
