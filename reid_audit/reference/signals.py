"""What a network says of every film under the answers it was taught: the audited one and its references alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reid_audit.budget import Pace
from reid_audit.network.answers import log_odds, outputs_of
from reid_audit.reference.lesson import Lesson

Floats = NDArray[np.float64]
VIEWS = 2
"""Ways in which a film is shown at most."""


def views(images: Tensor, *, mirrored: bool) -> Iterator[Tensor]:
    """Images [N, C, H, W] as they are; where training showed them so, ``mirrored`` too."""
    yield images
    if mirrored:
        yield images.flip(-1)


def signals(
    module: nn.Module, lesson: Lesson, rows: NDArray[np.int64], pace: Pace, stage: str, *, mirrored: bool
) -> Floats:
    """[len(rows)] log odds of the taught answer, mean over the views, in evaluation mode. Raises OutOfTime.

    Several views of a film say more than one (Carlini et al., S&P 2022, section 6.2), but only views that training has
    shown: a network that never saw a mirrored film is at a loss there, whoever was in its training.
    """
    found = []

    def shown(part: Tensor) -> Tensor:
        return torch.stack([outputs_of(module(view)) for view in views(part, mirrored=mirrored)])

    for outputs, wanted in lesson.answered(shown, pace, stage, torch.from_numpy(rows)):
        odds = torch.stack([log_odds(lesson.kind, view, wanted) for view in outputs])
        found.append(odds.mean(0).double().cpu())
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64) if found else np.zeros(0)
