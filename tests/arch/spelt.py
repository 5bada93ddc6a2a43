"""Names and shapes without values, and the names that original repositories and older releases use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from reid_audit.arch.catalogue import on_meta

State = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def empty(**shapes: tuple[int, ...]) -> State:
    return {key.replace("__", "."): torch.empty(shape, device="meta") for key, shape in shapes.items()}


def of(build: Callable[[], nn.Module]) -> State:
    return {key: torch.empty(value.shape, device="meta") for key, value in on_meta(build).state_dict().items()}


def vision(name: str, classes: int = 1000, **options: Any) -> State:
    return of(lambda: torchvision.models.get_model(name, weights=None, num_classes=classes, **options))


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def without(state: State, *starts: str) -> State:
    return {key: value for key, value in state.items() if not key.startswith(starts)}


def renamed(state: State, *rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    done = {}
    for key, value in state.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        done[key] = value
    return done


def grey(state: State, key: str) -> State:
    weight = state[key]
    return state | {key: torch.empty((weight.shape[0], 1, *weight.shape[2:]), device="meta")}


def deep(state: State) -> State:
    return {
        k: torch.empty((*v.shape[:2], v.shape[2], *v.shape[2:]), device="meta") if v.dim() == 4 else v
        for k, v in state.items()
    }


DOTTED = (r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2")
BERT = {
    "embeddings__word_embeddings__weight": (28996, 768),
    "encoder__layer__0__attention__self__query__weight": (768, 768),
}


def bert(prefix: str) -> State:
    return under(prefix, empty(**BERT))


def vit(**options: Any) -> State:
    return of(lambda: VisionTransformer(**({"num_classes": 0} | options)))


SWIGLU: dict[str, Any] = {"mlp_layer": timm.layers.mlp.SwiGLUPacked, "act_layer": nn.SiLU, "init_values": 1e-5}
SMALL: dict[str, Any] = {"embed_dim": 384, "num_heads": 6}
HUGE: dict[str, Any] = SWIGLU | {"patch_size": 14, "embed_dim": 1280, "depth": 32, "num_heads": 16, "mlp_ratio": 5.3375}
LARGE: dict[str, Any] = {"embed_dim": 1024, "depth": 24, "num_heads": 16}


def mae(state: State, width: int) -> State:
    more = empty(
        mask_token=(1, 1, 512), decoder_pos_embed=(1, 197, 512), decoder_embed__weight=(512, width),
        decoder_blocks__0__norm1__weight=(512,), decoder_norm__weight=(512,), decoder_pred__weight=(768, 512),
    )  # fmt: skip
    return state | more


def transformers_model(name: str, **options: Any) -> State:
    import transformers

    config = getattr(transformers, f"{name}Config")(**options)
    return of(lambda: getattr(transformers, f"{name}Model")(config))


QKV = {"q": "query", "k": "key", "v": "value"}


def before_five(state: State) -> State:
    """Names that transformers wrote before release 5, which published files have."""
    return renamed(
        state,
        (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
        (
            r"\.attention\.(q|k|v)_proj\.",
            lambda m: f".attention.attention.{QKV[m[1]]}.",
        ),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
    )


def vit_pytorch(state: State) -> State:
    done: State = {}
    for key, value in renamed(
        state,
        (r"^patch_embed\.proj\.", "transformer.embeddings.patch_embeddings."),
        (r"^pos_embed$", "transformer.embeddings.position_embeddings"),
        (r"^cls_token$", "transformer.embeddings.cls_token"),
        (r"^norm\.", "transformer.encoder.encoder_norm."),
        (r"^blocks\.(\d+)\.", r"transformer.encoder.layer.\1."),
        (r"\.norm1\.", ".attention_norm."),
        (r"\.norm2\.", ".ffn_norm."),
        (r"\.mlp\.", ".ffn."),
        (r"\.attn\.proj\.", ".attn.out."),
    ).items():
        if ".attn.qkv." not in key:
            done[key] = value
            continue
        for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
            done[key.replace("qkv", part)] = third
    return done


def old_swin(state: State) -> State:
    """Names of timm before 0.9."""
    return renamed(
        state, (r"^layers\.([1-3])\.downsample\.", lambda m: f"layers.{int(m[1]) - 1}.downsample."),
        (r"^head\.fc\.", "head."),
    )  # fmt: skip


def efficientnet_pytorch(state: State, starts: tuple[int, ...] = (0, 1, 3, 5, 8, 11, 15)) -> State:
    """Names of lukemelas/EfficientNet-PyTorch for timm's; ``starts``: the first block of every stage."""
    done: State = {}
    for key, value in state.items():
        found = re.match(r"blocks\.(\d)\.(\d+)\.(.*)$", key)
        if found:
            stage, within, rest = int(found[1]), int(found[2]), found[3]
            shift = 0 if stage else 1
            rest = re.sub(r"^bn(\d)\.", lambda m, shift=shift: f"_bn{int(m[1]) - 1 + shift}.", rest)
            first = "_project_conv." if stage == 0 else "_expand_conv."
            rest = rest.replace("conv_pwl.", "_project_conv.").replace("conv_pw.", first)
            rest = rest.replace("conv_dw.", "_depthwise_conv.").replace("se.conv_", "_se_")
            key = f"_blocks.{starts[stage] + within}.{rest}"
        done[key] = value
    return renamed(
        done, (r"^conv_stem\.", "_conv_stem."), (r"^bn1\.", "_bn0."), (r"^conv_head\.", "_conv_head."),
        (r"^bn2\.", "_bn1."), (r"^classifier\.", "_fc."),
    )  # fmt: skip
