"""One spelling for a state_dict: floating entries only, wrappers' names and reparametrisations folded away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from reid_audit.arch.adapters import LORA_KEY, merge_lora

INERT_SUFFIXES = ("total_ops", "total_params", "attn_mask", "relative_position_index", "num_batches_tracked")
"""Counters and tables that profilers and older releases leave in a state_dict."""
TRANSPARENT = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that torch.compile, FSDP and activation checkpointing put between the parts of a key."""
DEPTH = 8
LEAST_SHARE = 0.2
ORIGINAL = ".parametrizations.weight.original"
POWER = ".parametrizations.weight.0._"


@dataclass(frozen=True, slots=True, eq=False)
class Canonical:
    """A state_dict in one spelling, and what had to be assumed on the way."""

    state: dict[str, Tensor]
    notes: tuple[str, ...]


def canonical(tensors: Mapping[str, Tensor]) -> Canonical:
    """Floating-point weights in order; LoRA, weight and spectral normalisation folded into plain weights."""
    kept = {k: v for k, v in tensors.items() if v.is_floating_point() and not k.endswith(INERT_SUFFIXES)}
    kept = {TRANSPARENT.sub("", k): v for k, v in kept.items()}
    notes: tuple[str, ...] = ()
    if any(LORA_KEY.search(key) for key in kept):
        kept, notes = merge_lora(kept)
    folded: dict[str, Tensor] = {}
    for key, value in kept.items():
        name, weight = _fold(key, value, kept)
        if name is not None:
            folded[name] = weight
    return Canonical(folded, notes)


def _fold(key: str, value: Tensor, table: Mapping[str, Tensor]) -> tuple[str | None, Tensor]:
    """The plain name and weight of ``key``; no name where the entry is consumed by another one."""
    for direction, gain in ((".weight_v", ".weight_g"), (ORIGINAL + "1", ORIGINAL + "0")):
        if key.endswith(direction) and (partner := key.removesuffix(direction) + gain) in table:
            return key.removesuffix(direction) + ".weight", _weight_norm(table[partner], value)
        if key.endswith(gain) and key.removesuffix(gain) + direction in table:
            return None, value
    for original, left, right in ((".weight_orig", ".weight_u", ".weight_v"), (ORIGINAL, POWER + "u", POWER + "v")):
        stem = key.removesuffix(original)
        if stem != key and stem + left in table and stem + right in table:
            return stem + ".weight", _spectral_norm(value, table[stem + left], table[stem + right])
        if key.endswith((left, right)) and key.removesuffix(left).removesuffix(right) + original in table:
            return None, value
    return key, value


def _weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """w = g v / |v|, the norm over every dimension in which g has extent 1 (Salimans and Kingma 2016).

    Shapes without values (meta tensors) stay as they are, here and below.
    """
    if direction.is_meta:
        return direction
    dims = [d for d in range(direction.dim()) if gain.dim() == direction.dim() and gain.shape[d] == 1]
    norm = direction.square().sum(dim=dims, keepdim=True).sqrt() if dims else direction.square().sum().sqrt()
    folded: Tensor = gain * direction / norm.clamp_min(1e-12)
    return folded


def _spectral_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """w / sigma with sigma = u^T W v for the stored singular vectors u and v (Miyato et al. 2018).

    W has the outputs as rows: dimension 0, or 1 where the module is a transposed convolution.
    """
    for rows in (0, 1):
        flat = weight.movedim(rows, 0).flatten(1) if weight.dim() > rows else weight
        if left.shape == flat.shape[:1] and right.shape == flat.shape[1:] and not weight.is_meta:
            folded: Tensor = weight / (left @ flat @ right)
            return folded
    return weight


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


Rename = Callable[[str], str]
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""``nn.Sequential(*list(resnet.children())[:-1])``: position of a child -> its name."""


def from_sequential(key: str) -> str:
    """A ResNet's key whose first part became a number, with the name put back."""
    first, dot, rest = key.partition(".")
    return SEQUENTIAL.get(first, first) + dot + rest
