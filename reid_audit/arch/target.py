"""A checkpoint that runs: the network the audit attacks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from reid_audit.records import ArchMatch


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A network in evaluation mode with the checkpoint's weights, and how it was identified."""

    module: nn.Module
    """fp32, eval(), parameters with requires_grad False, on CPU."""
    match: ArchMatch
