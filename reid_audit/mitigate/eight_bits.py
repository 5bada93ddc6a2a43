"""``int8``: weights on 255 steps a channel, statistics on 255 steps a layer (Jacob et al., CVPR 2018).

The values are stored as floats, so that the copy runs where the original does: this is the loss of precision, not the
smaller file.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import owned

STEPS = 127
"""On either side of zero."""


def eight_bits(found: Copy, given: Given) -> Copy:
    """The copy with weights and statistics on a grid of eight bits."""
    target = owned(found)
    with torch.no_grad():
        for key, value in target.module.state_dict().items():
            if value.is_floating_point() and value.numel() > 1:
                on_grid = stepped(value)
                value.copy_(on_grid.clamp_min(float(value.min())) if key.endswith("running_var") else on_grid)
    said = "every number was put on a grid of eight bits (symmetric, for each output channel)"
    return replace(found, target=target, done=(*found.done, said))


def stepped(value: Tensor) -> Tensor:
    """``value`` on a symmetric grid: for each row of a matrix or kernel, for a vector as a whole."""
    rows = value.flatten(1) if value.dim() > 1 else value.reshape(1, -1)
    step = (rows.abs().amax(1, keepdim=True) / STEPS).clamp_min(1e-12)
    return ((rows / step).round() * step).reshape(value.shape)


MITIGATION = Mitigation(
    idea="Put weights and statistics on a grid of eight bits.",
    source="Jacob et al., CVPR 2018",
    remains=(
        "Eight bits blunt the statistics and do not remove them; many channels together still speak of few patients.",
        "What the trained weights remember stays, to about a hundredth.",
    ),
    effect="blunts",
    apply=eight_bits,
)
