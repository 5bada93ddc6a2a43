"""What vision transformers of every spelling share: attention heads, and positions of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

PER_HEAD = 64
"""Width of one attention head in nearly every published transformer."""
HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}
"""The published exceptions: SO400M, ViT-H, g, bigG and e."""


def attention_heads(width: int, evidence: list[str]) -> int:
    """Heads of a published network of that width, else one per 64 channels: their number is in no shape."""
    heads = HEADS.get(width, max(1, round(width / PER_HEAD)))
    while width % heads:
        heads -= 1
    evidence.append(f"attention heads are in no shape: {heads} assumed, one per {width // heads} channels")
    return heads


@dataclass(frozen=True, slots=True)
class Tokens:
    """What joins the patches of a vision transformer, as timm names it: ``cls_token``, ``reg_token``, ``pos_embed``."""

    classes: int
    """Class tokens: 0 or 1."""
    registers: int
    embedded: int
    """Those of them that have a position embedding."""
    grid: int
    """Patches along one side of the square image."""

    @property
    def apart(self) -> bool:
        """Whether timm has to add the position embeddings before the tokens join."""
        return self.embedded != self.classes + self.registers

    @staticmethod
    def of(own: Mapping[str, Tensor]) -> Tokens:
        """Read off the shapes. Raises KeyError without positions, ValueError where they are of no square image."""
        classes = int("cls_token" in own)
        registers = int(own["reg_token"].shape[1]) if "reg_token" in own else 0
        count = int(own["pos_embed"].shape[1])
        for special in (classes + registers, classes, 0):
            grid = isqrt(max(0, count - special))
            if grid * grid == count - special:
                return Tokens(classes, registers, special, grid)
        raise ValueError(f"{count} positions and {classes + registers} tokens are those of no square image")


def positions(own: Mapping[str, Tensor], evidence: list[str]) -> dict[str, Tensor]:
    """DINOv2 gives the class token a position but not the registers: added to the token here, which is the same sum."""
    tokens = Tokens.of(own)
    if not (tokens.classes and tokens.registers and tokens.embedded == 1):
        return {}
    evidence.append("the class token's position embedding was added to the token")
    return {"cls_token": own["cls_token"] + own["pos_embed"][:, :1], "pos_embed": own["pos_embed"][:, 1:]}


def fused(state: dict[str, Tensor], *, biased: str = "qkv") -> dict[str, Tensor]:
    """Query, key and value matrices of every block joined into one; biases likewise, or kept apart for BEiT."""
    done = dict(state)
    for key in [k for k in state if k.endswith(".attn.q.weight")]:
        stem = key.removesuffix("q.weight")
        done[f"{stem}qkv.weight"] = torch.cat([done.pop(f"{stem}{part}.weight") for part in "qkv"])
        if f"{stem}q.bias" not in done:
            continue
        if biased == "qkv":
            done[f"{stem}qkv.bias"] = torch.cat([done.pop(f"{stem}{part}.bias") for part in "qkv"])
        else:
            done |= {f"{stem}q_bias": done.pop(f"{stem}q.bias"), f"{stem}v_bias": done.pop(f"{stem}v.bias")}
    return done
