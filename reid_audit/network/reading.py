"""What a network shows of many images in one pass: moments at its statistics layers, features before its head, logits.

Images are made into network input a few at a time. All at once, 5,000 films of 224 px in three channels are 3 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.network.batchnorm import ImageMoments, image_moments, joined, moments_and_output, statistics_layers
from reid_audit.network.heads import classifier, logits_of

MOST, FEWEST = 64, 8
"""Images in one forward pass."""
PIXELS = 64 * 96 * 96
"""Pixels in one forward pass on a CPU: larger batches fall out of its caches (224 px: half the speed at 64)."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Images a network is asked about."""

    images: Tensor
    """[N, C, H, W] in [0, 1]."""
    prepare: Callable[[Tensor], Tensor]
    """From a few of them to network input, on the network's device."""

    def __len__(self) -> int:
        return len(self.images)

    def probe(self) -> Tensor:
        """The first image as network input [1, C, H, W]."""
        return self.prepare(self.images[:1])

    def batches(self) -> Iterator[Tensor]:
        """Network input [B, C, H, W], a batch at a time."""
        for part in torch.split(self.images, batch_size(self.images)):
            prepared = self.prepare(part)
            yield prepared.contiguous(memory_format=torch.channels_last) if prepared.dim() == 4 else prepared


def batch_size(images: Tensor) -> int:
    """Images [N, C, H, W] that pass a network at once."""
    return max(FEWEST, min(MOST, PIXELS // max(1, images[0, 0].numel())))


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one pass showed of N images."""

    moments: list[ImageMoments]
    """One a statistics layer, in execution order; empty for networks without BatchNorm."""
    logits: Tensor | None
    """[N, K]; None where the network gives features."""
    features: Tensor | None
    """[N, D] the input of the linear head; None where it was not asked for, or there is none."""


def read(target: Target, inputs: Inputs, pace: Pace, *, stage: str, features: bool = False) -> Reading:
    """One pass over ``inputs`` without gradients. Raises OutOfTime."""
    head = classifier(target) if features else None
    answers = target.match.head != "features"
    seen: list[Tensor] = []
    moments: list[list[ImageMoments]] = []
    logits: list[Tensor] = []
    handle = None if head is None else head.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(1)))
    try:
        with torch.no_grad():
            for batch in pace.over(stage, inputs.batches(), len(inputs), size=len):
                layers, output = moments_and_output(target.module, batch)
                moments.append(layers)
                logits += [logits_of(output)] if answers else []
    finally:
        if handle is not None:
            handle.remove()
    return Reading(joined(moments), torch.cat(logits) if answers else None, torch.cat(seen) if seen else None)


def read_moments(
    module: nn.Module, inputs: Inputs, pace: Pace, *, stage: str, trained_with: int | None = None
) -> list[ImageMoments]:
    """Moments alone, from a pass that ends at the last statistics layer; empty without any. Raises OutOfTime.

    ``trained_with``: size of the training batches the statistics are thought to come from, for the correction.
    """
    if not statistics_layers(module):
        return []
    last: str | None = None
    parts: list[list[ImageMoments]] = []
    with torch.no_grad():
        for batch in pace.over(stage, inputs.batches(), len(inputs), size=len):
            sizes = None if trained_with is None else torch.full((len(batch),), float(trained_with))
            parts.append(image_moments(module, batch, last=last, batches=sizes))
            last = last or last_once([layer.stored.name for layer in parts[0]])
    return joined(parts)


def last_once(names: list[str]) -> str | None:
    """The last of the layers in execution order, where it is called only once: a pass can end there."""
    return names[-1] if names.count(names[-1]) == 1 else None
