"""What reference models are taught, and the audited network is asked: films, answers, and how both reach a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.budget import Pace
from reid_audit.imaging.stack import Stack
from reid_audit.network.heads import HeadKind

PASS = 64
"""Images in one pass without gradients."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The pooled films of both cohorts with their answers."""

    images: Stack
    """[N, C, H, W] in [0, 1]."""
    wanted: Tensor
    """[N, *] answers to all of them, on the CPU."""
    kind: HeadKind
    prepare: Callable[[Tensor], Tensor]
    """From a few images to network input, on the network's device."""

    def answered(
        self, ask: Callable[[Tensor], Tensor], pace: Pace, stage: str, rows: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(what ``ask`` gives for some images as network input, their answers), without gradients. Raises OutOfTime."""
        asked = torch.arange(len(self.images)) if rows is None else rows
        for part in pace.over(stage, torch.split(asked, PASS), len(asked), size=len):
            with torch.no_grad():
                outputs = ask(self.prepare(self.images[part]))
            yield outputs, self.wanted[part].to(outputs.device)
