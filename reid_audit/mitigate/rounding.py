"""``round``: every stored number with three significant digits.

Rounding of published figures is the oldest disclosure control (Willenborg and de Waal, Elements of Statistical
Disclosure Control, 2001, chapter 5). A training set's statistics are exact to about 1e-4, so the last digits of
a stored mean say more about few patients than the network needs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import owned

DIGITS = 3


def rounding(found: Copy, given: Given) -> Copy:
    """The copy with rounded weights and statistics."""
    target = owned(found)
    with torch.no_grad():
        for value in target.module.state_dict().values():
            if value.is_floating_point():
                value.copy_(rounded(value, DIGITS))
    return replace(found, target=target, done=(*found.done, f"every number was rounded to {DIGITS} significant digits"))


def rounded(values: Tensor, digits: int) -> Tensor:
    """``values`` to so many significant decimal digits; zeros stay."""
    exact = values.double()
    place = exact.abs().clamp_min(1e-300).log10().floor()
    unit = 10.0 ** (place - (digits - 1))
    return torch.where(exact == 0, exact, (exact / unit).round() * unit).to(values)


MITIGATION = Mitigation(
    idea="Round every stored number to three significant digits.",
    source="Willenborg and de Waal, Elements of Statistical Disclosure Control, 2001, chapter 5",
    remains=(
        "Rounding is far finer than the difference that one patient among few makes: hardly anything is hidden.",
        "What the trained weights remember stays.",
    ),
    effect="blunts",
    apply=rounding,
)
