"""Image towers of CLIP: OpenAI's and open_clip's names, and those of transformers. The audited output is the feature.

The text tower and the projection into the shared space are left out.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from reid_audit.arch.catalogue import replace_input
from reid_audit.arch.families.base import Family, Given, Recipe, attention_heads, rename, square
from reid_audit.arch.families.transformers import activation, from_config, layer_norm
from reid_audit.arch.tokens import PER_HEAD, fused

OPENAI = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.", "patch_embed.proj."),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
HUGGING_FACE = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
)
OTHER_TOWER = (
    r"(^|\.)(transformer\.resblocks\.|token_embedding\.|ln_final\.|positional_embedding$|(text|visual)_projection\b)"
)
"""Keys of the text tower and of the projections, which OpenAI keeps without a name of their own."""
FROM_OPENAI = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Entries that only OpenAI's own files hold (integers that torch stored with the weights)."""


def _tower(given: Given, body: dict[str, Tensor], act: Any, evidence: list[str]) -> Recipe:
    from timm.models.vision_transformer import VisionTransformer

    body["cls_token"] = body["cls_token"].reshape(1, 1, -1)
    body["pos_embed"] = body["pos_embed"].reshape(1, *body["pos_embed"].shape[-2:])
    width, channels, _, patch = (int(n) for n in body["patch_embed.proj.weight"].shape)
    side = square(int(body["pos_embed"].shape[1]) - 1, "patches") * patch
    evidence.append("the audited output is the tower's feature; text tower and projection are left out")
    options: dict[str, Any] = {
        "img_size": side,
        "patch_size": patch,
        "in_chans": channels,
        "num_classes": 0,
        "embed_dim": width,
        "depth": 1 + max(int(key.split(".")[1]) for key in body if key.startswith("blocks.")),
        "num_heads": attention_heads(given, width, evidence),
        "mlp_ratio": body["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "pre_norm": True,
        "norm_layer": layer_norm(given, 1e-5),
        "act_layer": act,
    }
    used = len(given.own)
    return Recipe(
        "CLIP-ViT", partial(VisionTransformer, **options), body, used, channels, 0, "features", side,
        from_weights=True, evidence=tuple(evidence), dropped="proj$", known=OTHER_TOWER,
    )  # fmt: skip


def open_clip(given: Given) -> Recipe:
    """A ViT tower in OpenAI's spelling: QuickGELU where the file is OpenAI's own or the configuration says so."""
    quick = bool(FROM_OPENAI & given.integers) or given.config.get("quick_gelu") is True
    recipe = _openai(given, quick)
    settled = quick or given.config.get("quick_gelu") is False
    return recipe if settled else replace(recipe, open=("GELU is assumed, but OpenAI's own networks have QuickGELU",))


def openai(given: Given) -> Recipe:
    """A ViT tower with QuickGELU, which ``--arch openai/CLIP-ViT`` asks for."""
    return _openai(given, True)


def _openai(given: Given, quick: bool) -> Recipe:
    from timm.layers import QuickGELU

    evidence = [f"{'QuickGELU' if quick else 'GELU'} assumed: the activation is in no weight"]
    own = {k: v for k, v in given.own.items() if k != "proj"}
    return _tower(given, rename(own, OPENAI), QuickGELU if quick else nn.GELU, evidence)


def hugging_face(given: Given) -> Recipe:
    """A ViT tower in the spelling of transformers; QuickGELU unless config.json says otherwise."""
    evidence = [*from_config(given)]
    if not given.config:
        evidence.append("QuickGELU assumed: the activation is in no weight")
    recipe = _tower(given, fused(rename(given.own, HUGGING_FACE)), activation(given, "quick_gelu"), evidence)
    unsure = () if given.config else ("QuickGELU is assumed without a config.json, but some networks have GELU",)
    return replace(recipe, open=unsure)


def resnet(given: Given) -> Recipe:
    """A ModifiedResNet tower, built by open_clip; its attention pooling and projection are part of it."""
    from open_clip.modified_resnet import ModifiedResNet

    width, channels = given.shape("conv3.weight")[0], given.shape("conv1.weight")[1]
    side = square(given.shape("attnpool.positional_embedding")[0] - 1, "places") * 32
    layers = [given.count(rf"layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)]
    out = given.shape("attnpool.c_proj.weight")[0]

    def build() -> nn.Module:
        module: nn.Module = ModifiedResNet(layers, out, width * 32 // PER_HEAD, side, width)
        if channels != 3:
            replace_input(module, channels)
        return module

    return Recipe(
        "CLIP-ResNet", build, dict(given.own), len(given.own), channels, 0, "features", side, from_weights=True,
        evidence=(f"one attention head per {PER_HEAD} channels assumed in the pooling",), known=OTHER_TOWER,
    )  # fmt: skip


VIT = (re.escape("transformer.resblocks.0.attn.in_proj_weight"), "class_embedding", r"conv1\.weight", r"ln_pre\.weight")
FAMILIES = (
    Family("open_clip", "CLIP-ViT", VIT, open_clip),
    Family("openai", "CLIP-ViT", VIT, openai),
    Family(
        "transformers",
        "CLIP-ViT",
        (r"embeddings\.class_embedding", r"pre_layrnorm\.weight", r"encoder\.layers\.0\.self_attn\.q_proj\.weight"),
        hugging_face,
    ),
    Family(
        "open_clip",
        "CLIP-ResNet",
        (r"attnpool\.positional_embedding", r"layer1\.0\.conv1\.weight", r"conv3\.weight"),
        resnet,
        package="open_clip",
        extra="clip",
    ),
)
