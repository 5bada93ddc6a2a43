"""One spelling for a state_dict: folded reparametrisations, floating entries only, prefixes tried in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor

INERT_SUFFIXES = ("total_ops", "total_params", "attn_mask", "relative_position_index", "num_batches_tracked")
"""Counters and tables that profilers and older releases leave in a state_dict."""
DEPTH = 5
LEAST_SHARE = 0.2


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point weights in order, with weight and spectral normalisation folded into plain weights."""
    kept = {k: v for k, v in tensors.items() if v.is_floating_point() and not k.endswith(INERT_SUFFIXES)}
    folded: dict[str, Tensor] = {}
    for key, value in kept.items():
        name, weight = _fold(key, value, kept)
        if name is not None:
            folded[name] = weight
    return folded


def _fold(key: str, value: Tensor, table: Mapping[str, Tensor]) -> tuple[str | None, Tensor]:
    """The plain name and weight of ``key``; no name where the entry is consumed by another one."""
    for direction, gain in ((".weight_v", ".weight_g"), (ORIGINAL + "1", ORIGINAL + "0")):
        if key.endswith(direction) and (partner := key.removesuffix(direction) + gain) in table:
            return key.removesuffix(direction) + ".weight", _weight_norm(table[partner], value)
        if key.endswith(gain) and key.removesuffix(gain) + direction in table:
            return None, value
    stem = key.removesuffix(".weight_orig")
    if stem != key and {stem + ".weight_u", stem + ".weight_v"} <= set(table):
        return stem + ".weight", _spectral_norm(value, table[stem + ".weight_u"], table[stem + ".weight_v"])
    if key.endswith((".weight_u", ".weight_v")) and key[: -len("_u")] + "_orig" in table:
        return None, value
    return key, value


ORIGINAL = ".parametrizations.weight.original"


def _weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """w = g v / |v|, the norm over every dimension in which g has extent 1 (Salimans and Kingma 2016)."""
    dims = [d for d in range(direction.dim()) if gain.dim() == direction.dim() and gain.shape[d] == 1]
    norm = direction.square().sum(dim=dims, keepdim=True).sqrt() if dims else direction.square().sum().sqrt()
    folded: Tensor = gain * direction / norm.clamp_min(1e-12)
    return folded


def _spectral_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """w / sigma with sigma = u^T W v for the stored singular vectors u and v (Miyato et al. 2018)."""
    flat = weight.reshape(weight.shape[0], -1)
    if left.shape != flat.shape[:1] or right.shape != flat.shape[1:]:
        return weight
    folded: Tensor = weight / (left @ flat @ right)
    return folded


def prefixes(keys: Iterable[str]) -> list[str]:
    """Leading dotted parts that a fair share of the keys have, the empty one first."""
    counts: Counter[str] = Counter()
    total = 0
    for key in keys:
        total += 1
        parts = key.split(".")[:-1]
        for depth in range(1, min(DEPTH, len(parts)) + 1):
            counts[".".join(parts[:depth]) + "."] += 1
    return ["", *(prefix for prefix, count in counts.most_common() if count >= max(2, LEAST_SHARE * total))]


def under(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """{key without the prefix: key} for the keys that have it."""
    return {key[len(prefix) :]: key for key in keys if key.startswith(prefix) and len(key) > len(prefix)}
