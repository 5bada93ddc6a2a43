"""One pass of many images through a network: moments at its statistics layers, features before its head, logits.

Images are made into network input a few at a time. All at once, 5,000 films of 224 px in three channels are 3 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.network.answers import outputs_of
from reid_audit.network.batchnorm import ImageMoments, image_moments, moments_and_output, statistics_layers
from reid_audit.network.gathering import GatheredMoments, Rows
from reid_audit.network.heads import classifier, embedded, logits_of, mask_certainty

MOST, FEWEST = 64, 8
"""Images in one forward pass."""
PIXELS = 64 * 96 * 96
"""Pixels in one forward pass on a CPU: larger batches fall out of its caches (224 px: half the speed at 64)."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Images that a network is asked about, made into its input a few at a time."""

    images: Stack
    """[N, C, H, W] in [0, 1]."""
    prepare: Callable[[Tensor], Tensor]
    """From a few of them to network input, on the network's device."""
    rows: Tensor | None = None
    """[K] int64: which of them are asked about, in which order; None: all in theirs."""

    def __len__(self) -> int:
        return len(self.images) if self.rows is None else len(self.rows)

    def first(self, count: int) -> Inputs:
        """The same, asking about the first ``count`` of the images only."""
        if count == len(self):
            return self
        return replace(self, rows=(torch.arange(len(self.images)) if self.rows is None else self.rows)[:count])

    def seen_as(self, view: Callable[[Tensor], Tensor]) -> Inputs:
        """The same, each image changed by ``view`` before it is made into network input."""
        return replace(self, prepare=lambda few: self.prepare(view(few)))

    def probe(self) -> Tensor:
        """An image as network input [1, C, H, W]."""
        return self.prepare(self.images[:1])

    def batches(self) -> Iterator[Tensor]:
        """Network input [B, C, H, W], a batch at a time."""
        size = batch_size(self.images)
        whole = blocks(self.images, size)
        for part in whole if self.rows is None else (self.images[rows] for rows in torch.split(self.rows, size)):
            yield self.prepare(part).contiguous(memory_format=torch.channels_last)


def batch_size(images: Stack) -> int:
    """Images [N, C, H, W] that pass a network at once."""
    return max(FEWEST, min(MOST, PIXELS // max(1, images.shape[-1] * images.shape[-2])))


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one pass over N images showed."""

    count: int
    """N"""
    moments: list[ImageMoments]
    """One a statistics layer, in execution order; empty for networks without BatchNorm."""
    logits: Tensor | None
    """[N, K]; None where the network gives features."""
    features: Tensor | None
    """[N, D] the input of the linear head, or what a network without a head gives; None where it was not asked for, or
    the network has another head."""
    certain: Tensor | None = None
    """[N] how sure the network is of its masks; None where it draws none."""


def read(
    target: Target,
    inputs: Inputs,
    pace: Pace,
    *,
    stage: str,
    features: bool = False,
    rest: Callable[[int], float] | None = None,
) -> Reading:
    """One pass over ``inputs`` without gradients; over the first of them where ``rest`` (Pace.over) needs the time.

    Raises OutOfTime.
    """
    head = classifier(target) if features else None
    kind = target.match.head
    seen, logits, sure = (Rows(len(inputs)) for _ in range(3))
    moments, count = GatheredMoments(len(inputs)), 0
    handle = (
        None if head is None else head.register_forward_pre_hook(lambda own, args: seen.add(embedded(own, args[0])))
    )
    try:
        with torch.no_grad():
            for batch in pace.over(stage, inputs.batches(), len(inputs), size=len, rest=rest):
                layers, output = moments_and_output(target.module, batch)
                count += len(batch)
                moments.add(layers)
                if kind == "segmentation":
                    sure.add(mask_certainty(outputs_of(output)))
                if kind != "features":
                    logits.add(logits_of(output))
                elif features:
                    seen.add(logits_of(output))
    finally:
        if handle is not None:
            handle.remove()
    return Reading(count, moments.found(), logits.found(), seen.found(), sure.found())


def read_moments(
    module: nn.Module, inputs: Inputs, pace: Pace, *, stage: str, trained_with: int | None = None
) -> list[ImageMoments]:
    """Moments alone, from a pass that ends at the last statistics layer; empty without any. Raises OutOfTime.

    ``trained_with``: size of the training batches the statistics are thought to come from, for the correction.
    """
    if not statistics_layers(module):
        return []
    last: str | None = None
    gathered = GatheredMoments(len(inputs))
    with torch.no_grad():
        for batch in pace.over(stage, inputs.batches(), len(inputs), size=len):
            sizes = None if trained_with is None else torch.full((len(batch),), float(trained_with))
            layers = image_moments(module, batch, last=last, batches=sizes)
            gathered.add(layers)
            last = last or last_once([layer.stored.name for layer in layers])
    return gathered.found()


def last_once(names: list[str]) -> str | None:
    """The last of the layers in execution order, where it is called only once: a pass can end there."""
    return names[-1] if names.count(names[-1]) == 1 else None
