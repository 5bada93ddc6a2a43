"""Low-rank adapters (LoRA, Hu et al. 2021) in a state_dict: merged into the weights they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

LORA_KEY = re.compile(r"\.lora_[AB](?:\.|$)")
FACTOR = re.compile(r"^(?P<path>.*)\.lora_(?P<side>[AB])(?:\.(?P<adapter>(?!weight$)[^.]+))?(?:\.weight)?$")
WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save\.[^.]+)\.(?=[^.]+$)")
ALPHAS = ("alpha", "lora_alpha", "lora.alpha")
SCALES = ("scaling", "lora_scaling", "lora.scaling")


def merge_lora(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """W + s B A for every adapted weight, keys renamed to the plain network's; and what was assumed.

    Shapes: A [r, in] or [r, in, k, k], B [out, r] or [out, r, 1, 1]. The factor s is alpha / r where the file holds
    alpha, or the file's own scaling; a state_dict mostly holds neither, and s = 1 is assumed (alpha equal to the rank).
    A factor without its partner, or whose product has another shape than the weight, is left where it is.
    """
    factors, rest = _split(state)
    merged = {_plain(key): value for key, value in rest.items() if ".original_module." not in key}
    assumed = 0
    for (path, adapter), pair in factors.items():
        target = _plain(f"{path}.weight")
        update = _product(pair, merged.get(target))
        if update is None:
            merged |= {f"{path}.lora_{side}.{adapter}": value for side, value in pair.items()}
            continue
        scale, known = _scale(path, adapter, int(pair["A"].shape[0]), rest)
        assumed += not known
        merged[target] = merged[target] + scale * update
    settings = {f"{path}.{name}" for path, _ in factors for name in (*ALPHAS, *SCALES)}
    merged = {key: value for key, value in merged.items() if key not in settings}
    return merged, _notes(len(factors), assumed)


def _notes(count: int, assumed: int) -> tuple[str, ...]:
    notes = [f"LoRA adapters merged into {count} weights"]
    if assumed:
        notes.append(f"LoRA scaling of {assumed} weights is not in the file: alpha equal to the rank is assumed")
    return tuple(notes)


def _split(state: Mapping[str, Tensor]) -> tuple[dict[tuple[str, str], dict[str, Tensor]], dict[str, Tensor]]:
    factors: dict[tuple[str, str], dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for key, value in state.items():
        found = FACTOR.match(key)
        if found:
            factors.setdefault((found["path"], found["adapter"] or ""), {})[found["side"]] = value
        else:
            rest[key] = value
    return factors, rest


def _plain(key: str) -> str:
    return WRAPPED.sub(".", key)


def _product(pair: Mapping[str, Tensor], weight: Tensor | None) -> Tensor | None:
    if set(pair) != {"A", "B"} or weight is None:
        return None
    down, up = pair["A"], pair["B"]
    if up.flatten(1).shape[1] != down.shape[0] or up.shape[0] * down[0].numel() != weight.numel():
        return None
    if weight.is_meta:
        return weight
    update: Tensor = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    return update


def _scale(path: str, adapter: str, rank: int, rest: Mapping[str, Tensor]) -> tuple[float, bool]:
    """The factor and whether the file states it."""
    for name in ALPHAS:
        for key in (f"{path}.{name}", f"{path}.{name}.{adapter}"):
            if key in rest and rest[key].numel() == 1 and not rest[key].is_meta:
                return float(rest[key]) / max(1, rank), True
    for name in SCALES:
        for key in (f"{path}.{name}", f"{path}.{name}.{adapter}"):
            if key in rest and rest[key].numel() == 1 and not rest[key].is_meta:
                return float(rest[key]), True
    return 1.0, False
