"""Vision transformers that no library lists under a name: timm's module, with every option read off keys and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from reid_audit.arch import catalogue
from reid_audit.arch.build_index import normalisation, signature
from reid_audit.arch.canonical import Canonical, under
from reid_audit.arch.catalogue import Build, on_meta
from reid_audit.arch.index import Index, pack, unpack
from reid_audit.arch.tokens import Tokens, attention_heads, positions

NAME = "VisionTransformer"
ANCHOR = re.compile(r"^(?P<prefix>(?:.*\.)?)patch_embed\.proj\.weight$")
SPELLINGS = (
    (re.compile(r"^(?:register_tokens|reg_tokens|registers|storage_tokens)$"), "reg_token"),
    (re.compile(r"^blocks\.\d+\.(?=\d+\.)"), "blocks."),
    (re.compile(r"\.mlp\.w12\."), ".mlp.fc1."),
    (re.compile(r"\.mlp\.w3\."), ".mlp.fc2."),
)
"""DINOv2's names -> timm's: its registers, its blocks in chunks, its gated linear layers."""


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """A network described by the file itself."""

    index: Index
    """An index of this one network."""
    given: Canonical
    """The file in timm's spelling."""
    prefix: str
    construct: Callable[[Build], nn.Module]
    """Builds it with other classes or channels."""


def vision_transformer(given: Canonical) -> Shaped | None:
    """The ViT that the keys under some ``patch_embed`` describe; None where there is none, or not in timm's form."""
    found = next((m for key in given.state if (m := ANCHOR.match(key))), None)
    if found is None:
        return None
    prefix = found["prefix"]
    own = {_spelled(short): given.state[key] for short, key in under(given.state, prefix).items()}
    notes: list[str] = []
    try:
        options = _options(own, notes)
        built = on_meta(lambda: _build(options, Build("timm", NAME)))
    except (KeyError, ValueError, ZeroDivisionError, AssertionError):
        return None
    own |= positions(own, notes)
    beside = {key: value for key, value in given.state.items() if not key.startswith(prefix)}
    state = {prefix + short: value for short, value in own.items()} | beside
    index = unpack(pack([_row(built, options)], catalogue.versions()))
    return Shaped(index, replace(given, state=state, notes=(*given.notes, *notes)), prefix, partial(_build, options))


def _spelled(key: str) -> str:
    for pattern, new in SPELLINGS:
        key = pattern.sub(new, key)
    return key


def _build(options: Mapping[str, Any], build: Build) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    changed = {"num_classes": 1000 if build.classes is None else build.classes, "in_chans": build.channels}
    module: nn.Module = VisionTransformer(**{**options, **changed})
    return module


def _row(built: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "library": "timm",
        "name": NAME,
        "family": "vision_transformer",
        "side": options["img_size"],
        "head": ["head.weight", "head.bias"],
        "stem": ["patch_embed.proj.weight"],
        "segmentation": False,
        "normalisation": normalisation(built),
        "shapes": signature(built),
    }


def _options(own: Mapping[str, Tensor], notes: list[str]) -> dict[str, Any]:
    """timm's options for these shapes.

    Raises KeyError where a part is missing, ValueError where shapes are not those of a ViT over square patches.
    """
    from timm.layers.mlp import Mlp, SwiGLUPacked

    width, _, patch, other = own["patch_embed.proj.weight"].shape
    inner, outer = own["blocks.0.mlp.fc1.weight"].shape[0], own["blocks.0.mlp.fc2.weight"].shape[1]
    if patch != other or inner not in (outer, 2 * outer):
        raise ValueError("no ViT over square patches")
    tokens = Tokens.of(own)
    pooled = "fc_norm.weight" in own or not tokens.classes
    class_token = "a class token" if tokens.classes else "no class token"
    notes.append(f"read off shapes: {class_token}, {tokens.registers} register tokens")
    notes.append(
        f"output: {'mean of the patch tokens' if pooled else 'class token'}, "
        f"normalised {'after' if 'fc_norm.weight' in own else 'before'} it is taken"
    )
    return {
        "img_size": tokens.grid * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": 1 + max(int(key.split(".")[1]) for key in own if key.startswith("blocks.")),
        "num_heads": _heads(own, width, notes),
        "mlp_ratio": (inner + 0.5) / width,
        "mlp_layer": Mlp if inner == outer else SwiGLUPacked,
        "act_layer": nn.GELU if inner == outer else nn.SiLU,
        "qkv_bias": "blocks.0.attn.qkv.bias" in own,
        "qk_norm": "blocks.0.attn.q_norm.weight" in own,
        "init_values": 1e-5 if "blocks.0.ls1.gamma" in own else None,
        "class_token": bool(tokens.classes),
        "reg_tokens": tokens.registers,
        "no_embed_class": tokens.apart,
        "pre_norm": "norm_pre.weight" in own,
        "global_pool": "avg" if pooled else "token",
        "fc_norm": "fc_norm.weight" in own,
    }


def _heads(own: Mapping[str, Tensor], width: int, notes: list[str]) -> int:
    norm = own.get("blocks.0.attn.q_norm.weight")
    return attention_heads(width, notes) if norm is None else width // int(norm.shape[0])
