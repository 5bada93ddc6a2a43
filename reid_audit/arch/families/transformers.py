"""Hugging Face transformers, image models: keys renamed to timm's and torchvision's networks of the same function.

Releases before and after 5 name the same weights differently; both are read. Nothing of transformers is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from reid_audit.arch.families.base import (
    Family,
    Given,
    Recipe,
    Rule,
    attention_heads,
    head_kind,
    rename,
    square,
)  # fmt: skip
from reid_audit.arch.near import FACTORY
from reid_audit.arch.tokens import Tokens, fused, positions
from reid_audit.errors import ArchitectureError

BLOCK = (
    (r"^(?:encoder\.layer|layers|layer)\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.(?:attention|self)\.", r".attention."),
    (r"\.attention\.(?:query|q_proj)\.", r".attn.q."),
    (r"\.attention\.(?:key|k_proj)\.", r".attn.k."),
    (r"\.attention\.(?:value|v_proj)\.", r".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", r".attn.proj."),
    (r"\.(?:attention\.)?(?:relative_position_bias\.)?(relative_position_bias_table)$", r".attn.\1"),
    (r"\.layernorm_before\.", r".norm1."),
    (r"\.layernorm_after\.", r".norm2."),
    (r"\.intermediate\.dense\.", r".mlp.fc1."),
    (r"\.output\.dense\.", r".mlp.fc2."),
)
EMBEDDINGS = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.(?:distillation_token|register_tokens)$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^layernorm\.", "norm."),
)
SCALES = ((r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"), (r"\.lambda_([12])$", r".gamma_\1"))
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
UNUSED = ("pooler.dense.", "embeddings.mask_token")
"""Own keys that only pre-training or other outputs use."""


def activation(given: Given, default: str = "gelu") -> Callable[[], nn.Module]:
    """The activation the configuration names, GELU without one. Raises ArchitectureError for one not known here."""
    from timm.layers import GELUTanh, QuickGELU

    known = {**ACTIVATIONS, "quick_gelu": QuickGELU, "gelu_new": GELUTanh, "gelu_pytorch_tanh": GELUTanh}
    name = str(given.config.get("hidden_act", default))
    if name not in known:
        raise ArchitectureError(
            f"config.json names the activation {name[:40]!r}", closest=", ".join(known), remedy=FACTORY
        )
    return known[name]


def only_gelu(given: Given) -> None:
    """Raises ArchitectureError where the configuration names another activation than timm's network has."""
    if activation(given) is not nn.GELU:
        raise ArchitectureError(
            "config.json names another activation than GELU", closest="GELU is what runs here", remedy=FACTORY
        )


def useful(given: Given) -> dict[str, Tensor]:
    """Own entries that take part in the network's output."""
    return {key: value for key, value in given.own.items() if not key.startswith(UNUSED)}


def classifier(given: Given, target: str, *names: str) -> tuple[dict[str, Tensor], int]:
    """The head beside the network under one of ``names``, renamed to ``target``; and its outputs."""
    for name in names or ("classifier",):
        weight = given.beside.get(f"{name}.weight")
        if weight is not None:
            parts = {f"{target}.{leaf}": given.beside.get(f"{name}.{leaf}") for leaf in ("weight", "bias")}
            return {key: value for key, value in parts.items() if value is not None}, int(weight.shape[0])
    return {}, 0


def from_config(given: Given) -> tuple[str, ...]:
    """The line that says a configuration was used."""
    return ("config.json beside the file was read",) if given.config else ()


def layer_norm(given: Given, default: float) -> Callable[..., nn.Module]:
    """LayerNorm with the configuration's epsilon."""
    return partial(nn.LayerNorm, eps=given.real("layer_norm_eps", default))


def vit(given: Given) -> Recipe:
    """ViT and DeiT: timm's VisionTransformer; DeiT's distillation token is a register token to the same effect."""
    from timm.models.vision_transformer import VisionTransformer

    evidence = [*from_config(given)]
    body = fused(rename(useful(given), (*EMBEDDINGS, *BLOCK)))
    head, classes = classifier(given, "head")
    teacher, _ = classifier(given, "head_dist", "distillation_classifier")
    if teacher:
        head, classes = classifier(given, "head", "cls_classifier")
    options = _vit_options(given, body, evidence) | {"norm_layer": layer_norm(given, 1e-12), "num_classes": classes}
    make: Callable[..., nn.Module] = VisionTransformer
    if teacher:
        from timm.models.deit import VisionTransformerDistilled

        options.pop("reg_tokens")
        body["dist_token"] = body.pop("reg_token")
        make = VisionTransformerDistilled
    name = "DeiT" if "embeddings.distillation_token" in given.own else "ViT"
    used = len(useful(given)) + len(head) + len(teacher)
    return _recipe(name, partial(make, **options), body | head | teacher, used, classes, options, evidence)


def _recipe(
    name: str,
    build: Callable[[], nn.Module],
    state: dict[str, Tensor],
    used: int,
    classes: int,
    options: dict[str, Any],
    evidence: list[str],
) -> Recipe:
    """A vision transformer's recipe, whose side follows from its position embeddings."""
    return Recipe(
        name=name,
        build=build,
        state=state,
        used=used,
        channels=options["in_chans"],
        classes=classes,
        head=head_kind(classes),
        side=options["img_size"],
        from_weights=True,
        evidence=tuple(evidence),
        dropped="|".join(re.escape(start) for start in UNUSED),
    )


def _vit_options(given: Given, body: dict[str, Tensor], evidence: list[str]) -> dict[str, Any]:
    width, channels, _, patch = body["patch_embed.proj.weight"].shape
    depth = 1 + max(int(key.split(".")[1]) for key in body if key.startswith("blocks."))
    tokens = Tokens.of(body)
    body |= positions(body, evidence)
    if not tokens.classes:
        evidence.append("no class token: the output is the mean of the patch tokens")
    return {
        "img_size": tokens.grid * patch,
        "patch_size": patch,
        "in_chans": channels,
        "embed_dim": width,
        "depth": depth,
        "num_heads": attention_heads(given, width, evidence),
        "mlp_ratio": body["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in body,
        "act_layer": activation(given),
        "reg_tokens": tokens.registers,
        "class_token": bool(tokens.classes),
        "no_embed_class": tokens.apart,
        "global_pool": "token" if tokens.classes else "avg",
        "fc_norm": False,
    }


def beit(given: Given) -> Recipe:
    """BEiT: timm's Beit with its bias tables per block."""
    from timm.models.beit import Beit

    evidence = [*from_config(given)]
    rules = (*EMBEDDINGS, *BLOCK, *SCALES, (r"^pooler\.layernorm\.", "fc_norm."))
    only_gelu(given)
    body = fused(rename(useful(given), rules), biased="apart")
    head, classes = classifier(given, "head")
    width, channels, _, patch = body["patch_embed.proj.weight"].shape
    table = body.get("blocks.0.attn.relative_position_bias_table")
    known = table is not None or "pos_embed" in body
    grid = (square(int(table.shape[0]) - 3, "offsets") + 1) // 2 if table is not None else (given.side or 224) // patch
    if "pos_embed" in body:
        grid = square(int(body["pos_embed"].shape[1]) - 1, "patches")
    options: dict[str, Any] = {
        "img_size": grid * patch,
        "patch_size": patch,
        "in_chans": channels,
        "num_classes": classes,
        "embed_dim": width,
        "depth": 1 + max(int(key.split(".")[1]) for key in body if key.startswith("blocks.")),
        "num_heads": int(table.shape[1]) if table is not None else attention_heads(given, width, evidence),
        "mlp_ratio": body["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.q_bias" in body,
        "init_values": 0.1 if "blocks.0.gamma_1" in body else None,
        "use_abs_pos_emb": "pos_embed" in body,
        "use_rel_pos_bias": table is not None,
        "norm_layer": layer_norm(given, 1e-12),
        "global_pool": "avg" if "fc_norm.weight" in body else "token",
    }
    used = len(useful(given)) + len(head)
    made = _recipe("BEiT", partial(Beit, **options), body | head, used, classes, options, evidence)
    return replace(made, from_weights=known)


class PooledTokens(nn.Module):
    """A transformer whose classifier sees the class token and the mean patch token (DINOv2 in transformers)."""

    def __init__(self, backbone: nn.Module, width: int, classes: int, registers: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2 * width, classes)
        self.registers = registers

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] -> logits [N, classes]."""
        tokens = cast(Callable[[Tensor], Tensor], self.backbone.forward_features)(images)
        patches = tokens[:, 1 + self.registers :]
        logits: Tensor = self.head(torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1))
        return logits


def dinov2(given: Given) -> Recipe:
    """DINOv2, with or without register tokens: timm's VisionTransformer with layer scale."""
    from timm.models.vision_transformer import VisionTransformer

    evidence = [*from_config(given)]
    body = fused(rename(useful(given), (*EMBEDDINGS, *BLOCK, *SCALES)))
    head, classes = classifier(given, "head")
    options = _vit_options(given, body, evidence) | {
        "norm_layer": layer_norm(given, 1e-6),
        "num_classes": 0,
        "init_values": 1.0,
    }
    build: Callable[[], nn.Module] = partial(VisionTransformer, **options)
    used = len(useful(given)) + len(head)
    if classes:
        plain = build
        build = lambda: PooledTokens(plain(), options["embed_dim"], classes, options["reg_tokens"])  # noqa: E731
        body = {f"backbone.{key}": value for key, value in body.items()}
    return _recipe("DINOv2", build, body | head, used, classes, options, evidence)


SWIN: tuple[Rule, ...] = (
    *EMBEDDINGS,
    (r"^encoder\.layers\.(\d+)\.blocks\.", r"layers.\1.blocks."),
    (r"^encoder\.layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m.group(1)) + 1}.downsample."),
    *BLOCK[1:],
)


def swin(given: Given) -> Recipe:
    """Swin: timm's SwinTransformer, which merges patches at the start of a stage instead of at the end."""
    from timm.models.swin_transformer import SwinTransformer

    evidence = [*from_config(given)]
    body = fused(rename(useful(given), SWIN))
    head, classes = classifier(given, "head.fc")
    width, channels, _, patch = body["patch_embed.proj.weight"].shape
    only_gelu(given)
    stages = given.count(r"encoder\.layers\.(\d+)\.")
    tables = [body[f"layers.{i}.blocks.0.attn.relative_position_bias_table"].shape for i in range(stages)]
    window = (square(int(tables[0][0]), "offsets") + 1) // 2
    side = given.side or given.number("image_size", 32 * window)
    options: dict[str, Any] = {
        "img_size": side,
        "patch_size": patch,
        "in_chans": channels,
        "num_classes": classes,
        "embed_dim": width,
        "depths": [given.count(rf"encoder\.layers\.{i}\.blocks\.(\d+)\.") for i in range(stages)],
        "num_heads": [int(table[1]) for table in tables],
        "window_size": window,
        "mlp_ratio": body["layers.0.blocks.0.mlp.fc1.weight"].shape[0] / width,
        "norm_layer": layer_norm(given, 1e-5),
        "strict_img_size": True,
    }

    def build() -> nn.Module:
        module: nn.Module = SwinTransformer(**options)
        for path, child in module.named_modules():
            if isinstance(child, nn.LayerNorm) and path.endswith(("patch_embed.norm", "downsample.norm")):
                child.eps = 1e-5  # transformers leaves these two at torch's default
        return module

    made = _recipe("Swin", build, body | head, len(given.own) + len(head), classes, options, evidence)
    return replace(made, from_weights=False)


PATCHES = r"embeddings\.patch_embeddings\.projection\.weight"
FAMILIES = (
    Family("transformers", "Swin", (PATCHES, r"encoder\.layers\.0\.blocks\.0\.layernorm_before\.weight"), swin),
    Family("transformers", "DINOv2", (PATCHES, r"encoder\.layer\.0\.layer_scale1\.lambda1"), dinov2),
    Family(
        "transformers",
        "BEiT",
        (
            PATCHES,
            r"(encoder\.layer|layers)\.0\.(lambda_1|\S*relative_position_bias_table)",
        ),
        beit,
    ),
    Family("transformers", "ViT", (PATCHES, r"(encoder\.layer|layers)\.0\.layernorm_before\.weight"), vit),
)
