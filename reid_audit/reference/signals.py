"""What a network says of every film under the answers it was taught: the audited one and its references alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.budget import Pace
from reid_audit.network.answers import log_odds, outputs_of
from reid_audit.reference.lesson import Lesson

Floats = NDArray[np.float64]
VIEWS = 6
"""Views of a film at most: itself, its mirror image and four shifts."""
SHIFT = 32
"""An image is shifted by its width divided by this, rounded down, but by one pixel at least."""


def signals(
    module: nn.Module, lesson: Lesson, rows: NDArray[np.int64], pace: Pace, stage: str, *, near: bool, mirrored: bool
) -> Floats:
    """[V, len(rows)] log odds of the taught answer, in evaluation mode: of the film, where it is ``near`` or
    ``mirrored`` also of its mirror image, where it is ``near`` also the mean over four shifts. Raises OutOfTime.
    """
    found = []

    def shown(part: Tensor) -> Tensor:
        return torch.stack([outputs_of(module(view)) for view in views(part, near=near, mirrored=mirrored)])

    for outputs, wanted in lesson.answered(shown, pace, stage, torch.from_numpy(rows)):
        turned = wanted.flip(-1) if outputs[0].dim() > 2 else wanted
        answers = [turned if number == 1 else wanted for number in range(len(outputs))]
        odds = [log_odds(lesson.kind, view, answer) for view, answer in zip(outputs, answers, strict=True)]
        kept = [*odds[:2], torch.stack(odds[2:]).mean(0)] if near else odds
        found.append(torch.stack(kept).double().cpu())
    if not found:
        return np.zeros((3 if near else 2 if mirrored else 1, 0))
    return np.asarray(torch.cat(found, dim=1).numpy(), dtype=np.float64)


def views(images: Tensor, *, near: bool, mirrored: bool) -> Iterator[Tensor]:
    """Images [N, C, H, W] as they are, mirrored, and shifted by a little in four directions, edges repeated."""
    yield images
    if near or mirrored:
        yield images.flip(-1)
    if near:
        way = max(1, images.shape[-1] // SHIFT)
        wide = functional.pad(images, (way, way, way, way), mode="replicate")
        height, width = images.shape[-2:]
        for down, right in ((0, way), (2 * way, way), (way, 0), (way, 2 * way)):
            yield wide[..., down : down + height, right : right + width]


def over_views(said: Floats, *, mirrored: bool) -> Floats:
    """[..., N] of log odds [..., V, N]: of the film, and the mean with its mirror image where training showed that too.

    Several views of a film say more than one (Carlini et al., S&P 2022, section 6.2), but only views that training has
    shown: a network that never saw a mirrored film is at a loss there, whoever was in its training.
    """
    return np.asarray(said[..., :2, :].mean(axis=-2) if mirrored else said[..., 0, :])
