"""Weights kept in parts: weight and spectral normalisation, and pruning masks, folded into plain weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

PARTS = re.compile(r"^(?P<path>(?:.*\.)?)(?P<name>[^.]+)_(?P<part>g|v|u|orig|mask)$")
"""``weight_g``: torch.nn.utils.weight_norm, spectral_norm and prune keep the parts beside each other."""
PARAMETRISED = re.compile(r"^(?P<path>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.(?P<part>original[01]?|0\._[uv])$")
"""``parametrizations.weight.original0``: torch.nn.utils.parametrizations keeps them in a list of its own."""
TABLE = {"original0": "g", "original1": "v", "original": "orig", "0._u": "u", "0._v": "v"}
Parts = dict[str, tuple[str, Tensor]]
"""{part: (its key in the file, its value)} of one weight."""


def fold(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Plain weights in the order of the file, and what was folded.

    g and v: w = g v / |v| (Salimans and Kingma 2016). orig, u and v: w = orig / (u^T orig v) (Miyato et al. 2018).
    orig and mask, or a weight and its mask: the product, which is what a pruned layer runs with. Parts without their
    partners stay as they are. Meta tensors keep their shape.
    """
    parts = _parts(state)
    whole = {key: value for key, value in parts.items() if _complete(key, value, state)}
    owner = {file_key: key for key, value in whole.items() for file_key, _ in value.values()}
    done: dict[str, Tensor] = {}
    pruned = 0
    for file_key, value in state.items():
        key = owner.get(file_key, file_key)
        if key in done:
            continue
        if key in whole:
            done[key] = _weight(whole[key], state.get(key))
            pruned += "mask" in whole[key]
        else:
            done[key] = value
    notes = (f"pruning masks applied to {pruned} weights",) if pruned else ()
    return done, notes


def _parts(state: Mapping[str, Tensor]) -> dict[str, Parts]:
    found: dict[str, Parts] = {}
    for key, value in state.items():
        named = PARTS.match(key) or PARAMETRISED.match(key)
        if named:
            part = TABLE.get(named["part"], named["part"])
            found.setdefault(named["path"] + named["name"], {})[part] = (key, value)
    return found


def _complete(key: str, parts: Parts, state: Mapping[str, Tensor]) -> bool:
    """Whether the parts make up one weight, and nothing is left over."""
    names = set(parts)
    if names == {"mask"}:
        return key in state and state[key].shape == parts["mask"][1].shape
    if key in state:
        return False
    if names == {"orig", "mask"}:
        return parts["orig"][1].shape == parts["mask"][1].shape
    if names == {"g", "v"}:
        return _is_gain(parts["g"][1], parts["v"][1])
    return names == {"orig", "u", "v"}


def _is_gain(gain: Tensor, direction: Tensor) -> bool:
    sizes = zip(gain.shape, direction.shape, strict=False)
    return gain.numel() == 1 or (gain.dim() == direction.dim() and all(a in (1, b) for a, b in sizes))


def _weight(parts: Parts, plain: Tensor | None) -> Tensor:
    if "g" in parts:
        return _weight_norm(parts["g"][1], parts["v"][1])
    if "mask" in parts:
        kept = plain if plain is not None else parts["orig"][1]
        return kept if kept.is_meta else kept * parts["mask"][1].to(kept.dtype)
    return _spectral_norm(parts["orig"][1], parts["u"][1], parts["v"][1])


def _weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """The norm is taken over every dimension in which g has extent 1."""
    if direction.is_meta:
        return direction
    dims = [d for d in range(direction.dim()) if gain.dim() == direction.dim() and gain.shape[d] == 1]
    norm = direction.square().sum(dim=dims, keepdim=True).sqrt() if dims else direction.square().sum().sqrt()
    folded: Tensor = gain * direction / norm.clamp_min(1e-12)
    return folded


def _spectral_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """W has the outputs as rows: dimension 0, or 1 where the module is a transposed convolution."""
    for rows in (0, 1):
        flat = weight.movedim(rows, 0).flatten(1) if weight.dim() > rows else weight
        if left.shape == flat.shape[:1] and right.shape == flat.shape[1:] and not weight.is_meta:
            folded: Tensor = weight / (left @ flat @ right)
            return folded
    return weight
