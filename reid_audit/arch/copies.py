"""Whether two groups of tensors hold the same weights: copies of one network count once."""

from __future__ import annotations

import torch
from torch import Tensor

from reid_audit.arch.dotted import Tensors, common

IDENTICAL, ROUNDED = "identical", "the same in half precision"
HALVES = (torch.float16, torch.bfloat16)


def same(copy: Tensors, original: Tensors) -> str:
    """How every floating-point tensor of ``copy`` follows from one of that name in ``original``; empty: it does not.

    Names may differ by one prefix. A copy in half precision follows by rounding, one of a part is part of the whole.
    """
    shared = common(copy)
    short = {key[len(shared) :]: value for key, value in copy.items() if value.is_floating_point()}
    first = next(iter(short), None)
    for prefix in {key[: -len(first)] for key in original if key.endswith(first)} if first else ():
        if prefix and not prefix.endswith("."):
            continue
        if all(f"{prefix}{key}" in original for key in short):
            pairs = [(value, original[f"{prefix}{key}"]) for key, value in short.items()]
            if all(torch.equal(a, b) for a, b in pairs):
                return IDENTICAL
            if any(all(_rounds_to(a, b, half) for a, b in pairs) for half in HALVES):
                return ROUNDED
    return ""


def _rounds_to(rounded: Tensor, value: Tensor, half: torch.dtype) -> bool:
    return rounded.shape == value.shape and torch.equal(rounded, value.to(half).to(rounded.dtype))
