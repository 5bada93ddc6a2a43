"""``fp16``: weights and statistics stored in half precision (Micikevicius et al., ICLR 2018)."""

from __future__ import annotations

from dataclasses import replace

import torch

from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import owned


def half_precision(found: Copy, given: Given) -> Copy:
    """The copy with values that fp16 can hold, stored as such. Raises MitigationError where one is too large."""
    target = owned(found)
    largest = torch.finfo(torch.float16).max
    with torch.no_grad():
        for key, value in target.module.state_dict().items():
            if not value.is_floating_point():
                continue
            if bool((value.abs() > largest).any()):
                raise MitigationError(
                    f"{key} has values that half precision cannot hold",
                    closest=f"the largest is {float(value.abs().max()):.3g}, fp16 ends at {largest:g}",
                    remedy="leave --apply fp16 out",
                )
            value.copy_(value.half().float())
    said = "every number is stored in half precision"
    return replace(found, target=target, dtype=torch.float16, done=(*found.done, said))


MITIGATION = Mitigation(
    idea="Store weights and statistics in half precision.",
    source="Micikevicius et al., ICLR 2018",
    remains=(
        "Half precision keeps three to four digits, more than an attack on few patients needs.",
        "What the trained weights remember stays.",
    ),
    effect="blunts",
    apply=half_precision,
)
