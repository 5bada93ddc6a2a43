"""One spelling for a state_dict: floating entries only, wrappers' names and reparametrisations folded away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.arch.adapters import LORA_KEY, merge_lora
from reid_audit.arch.reparametrised import fold

INERT_SUFFIXES = ("total_ops", "total_params", "attn_mask", "relative_position_index", "num_batches_tracked")
"""Counters and tables that profilers and older releases leave in a state_dict."""
TRANSPARENT = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that torch.compile, FSDP and activation checkpointing put between the parts of a key."""
OBSERVER = re.compile(r"(^|\.)(activation_post_process(_\d+)?|weight_fake_quant)\.")
"""What quantisation-aware training (torch.ao) keeps of the ranges it saw."""
UNQUANTISED = "fake quantisation is left out: the network runs on the weights it rounds, in floating point"
DEPTH = 8
LEAST_SHARE = 0.2
DOTTED = re.compile(r"((?:^|\.)denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
"""A dense layer's children as torchvision named them before 0.3: ``denselayer1.norm.1``."""


@dataclass(frozen=True, slots=True, eq=False)
class Canonical:
    """A state_dict in one spelling, and what had to be assumed on the way."""

    state: dict[str, Tensor]
    notes: tuple[str, ...]
    integers: frozenset[str] = frozenset()
    """Names of the entries that hold no weights."""
    prefer: str = ""
    """How the names of the networks begin that come first among those with the same shapes."""


def canonical(tensors: Mapping[str, Tensor]) -> Canonical:
    """Floating-point weights in order; LoRA, weight and spectral normalisation folded into plain weights."""
    kept = {k: v for k, v in _spelled(tensors).items() if _is_weight(k, v)}
    observers = {key for key in kept if OBSERVER.search(key)}
    notes: tuple[str, ...] = (UNQUANTISED,) if observers else ()
    kept = {key: value for key, value in kept.items() if key not in observers}
    if any(LORA_KEY.search(key) for key in kept):
        kept, merged = merge_lora(kept)
        notes = (*notes, *merged)
    folded, more = fold(kept)
    state = {k: v for k, v in folded.items() if v.is_floating_point()}
    return Canonical(state, (*notes, *more), frozenset(k for k, v in tensors.items() if not v.is_floating_point()))


def _spelled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys in their plain spelling, unless that is another entry's name."""
    taken = Counter(plain(key) for key in tensors)
    return {plain(k) if taken[plain(k)] == 1 else k: v for k, v in tensors.items()}


def plain(key: str) -> str:
    """``key`` without the names that wrappers put between its parts, and in today's spelling."""
    return DOTTED.sub(r"\1", TRANSPARENT.sub("", key))


def _is_weight(key: str, value: Tensor) -> bool:
    mask = key.endswith("_mask") and value.dtype in (torch.bool, torch.uint8)
    return (value.is_floating_point() or mask) and not key.endswith(INERT_SUFFIXES)


def prefixes(keys: Iterable[str]) -> list[str]:
    """Leading dotted parts that a fair share of the keys have, the empty one first."""
    counts: Counter[str] = Counter()
    total = 0
    for key in keys:
        total += 1
        end = key.find(".")
        for _ in range(DEPTH):
            if end < 0:
                break
            counts[key[: end + 1]] += 1
            end = key.find(".", end + 1)
    return ["", *(prefix for prefix, count in counts.most_common() if count >= max(2, LEAST_SHARE * total))]


def under(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """{key without the prefix: key} for the keys that have it."""
    return {key[len(prefix) :]: key for key in keys if key.startswith(prefix) and len(key) > len(prefix)}
