"""The names that original repositories and older releases give to networks which timm and torchvision have too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from reid_audit.arch.canonical import Canonical
from reid_audit.arch.tokens import fused

Own = dict[str, Tensor]
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way of naming a network: told by keys that only it has, relative to a prefix."""

    name: str
    anchors: tuple[str, ...]
    rewrite: Callable[[Own], Own]
    unless: str = ""
    """How a key begins of libraries that keep these names and build the network themselves."""
    prefer: str = ""
    """How the names of the networks begin that run as these do, where others have the same shapes."""


def rewritten(own: Mapping[str, Tensor], rules: Rules) -> Own:
    """Keys under every rule in turn (regular expression, replacement)."""
    done: Own = {}
    for key, value in own.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        done[key] = value
    return done


SWIN: Rules = (
    (r"^layers\.(\d+)\.downsample\.", lambda m: f"layers.{int(m[1]) + 1}.downsample."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)
CONVNEXT: Rules = (
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
    (r"^norm\.", "head.norm."),
    (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"\.grn\.gamma$", ".mlp.grn.weight"),
    (r"\.grn\.beta$", ".mlp.grn.bias"),
)
VIT_PYTORCH: Rules = (
    (r"^transformer\.embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^transformer\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^transformer\.embeddings\.cls_token$", "cls_token"),
    (r"^transformer\.encoder\.encoder_norm\.", "norm."),
    (r"^transformer\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention_norm\.", ".norm1."),
    (r"\.ffn_norm\.", ".norm2."),
    (r"\.ffn\.", ".mlp."),
    (r"\.attn\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.attn\.out\.", ".attn.proj."),
)
CIFAR: Rules = ((r"\.shortcut\.", ".downsample."), (r"^linear\.", "fc."))
SAM: Rules = ((r"\.mlp\.lin([12])\.", r".mlp.fc\1."),)
EFFICIENTNET: Rules = (
    (r"^_conv_stem\.", "conv_stem."),
    (r"^_bn0\.", "bn1."),
    (r"^_conv_head\.", "conv_head."),
    (r"^_bn1\.", "bn2."),
    (r"^_fc\.", "classifier."),
    (r"\._se_(reduce|expand)\.", r".se.conv_\1."),
)
INVERTED: Rules = (
    (r"\._expand_conv\.", ".conv_pw."),
    (r"\._depthwise_conv\.", ".conv_dw."),
    (r"\._project_conv\.", ".conv_pwl."),
    (r"\._bn([012])\.", lambda m: f".bn{int(m[1]) + 1}."),
)
SEPARABLE: Rules = (
    (r"\._depthwise_conv\.", ".conv_dw."),
    (r"\._project_conv\.", ".conv_pw."),
    (r"\._bn([12])\.", r".bn\1."),
)
"""A block that does not expand has no first convolution, and timm numbers what is left."""


def _convnext(own: Own) -> Own:
    """Response normalisation [1, 1, 1, C] is a vector in timm."""
    done = rewritten(own, CONVNEXT)
    return {key: value.flatten() if ".grn." in key else value for key, value in done.items()}


def _vit_pytorch(own: Own) -> Own:
    return fused(rewritten(own, VIT_PYTORCH))


def _efficientnet(own: Own) -> Own:
    """Blocks numbered through; a stage of timm ends where the number of outputs changes."""
    outputs = {
        int(m[1]): len(v) for k, v in own.items() if (m := re.match(r"_blocks\.(\d+)\._project_conv\.weight", k))
    }
    places: dict[int, str] = {}
    stage, within = -1, 0
    for number in sorted(outputs):
        fresh = outputs.get(number - 1) != outputs[number]
        stage, within = (stage + 1, 0) if fresh else (stage, within + 1)
        places[number] = f"blocks.{stage}.{within}"
    done: Own = {}
    for key, value in own.items():
        found = re.match(r"_blocks\.(\d+)(\..*)$", key)
        if found and int(found[1]) in places:
            expands = f"_blocks.{found[1]}._expand_conv.weight" in own
            rest = next(iter(rewritten({found[2]: value}, INVERTED if expands else SEPARABLE)))
            key = places[int(found[1])] + rest
        done[key] = value
    return rewritten(done, EFFICIENTNET)


SPELLINGS = (
    Spelling(
        "Swin's own code and timm before 0.9 name it",
        ("layers.0.downsample.reduction.weight", "layers.0.blocks.0.attn.qkv.weight"),
        lambda own: rewritten(own, SWIN),
    ),
    Spelling("ConvNeXt's own code names it", ("downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"), _convnext),
    Spelling(
        "ViT-pytorch names it",
        ("transformer.embeddings.patch_embeddings.weight", "transformer.encoder.layer.0.attention_norm.weight"),
        _vit_pytorch,
    ),
    Spelling(
        "pytorch-cifar and MedMNIST name it",
        ("layer2.0.shortcut.0.weight", "layer1.0.conv1.weight"),
        lambda own: rewritten(own, CIFAR),
    ),
    Spelling("SAM names it", ("blocks.0.mlp.lin1.weight", "neck.0.weight"), lambda own: rewritten(own, SAM)),
    Spelling(
        "efficientnet_pytorch names it",
        ("_conv_stem.weight", "_blocks.0._depthwise_conv.weight"),
        _efficientnet,
        unless="segmentation_head.",
        prefer="tf_",
    ),
)


def respelled(given: Canonical) -> Canonical:
    """``given`` with the names that timm or torchvision use today, where its keys are of one of the spellings."""
    for spelling in SPELLINGS:
        first = spelling.anchors[0]
        for key in given.state:
            prefix = key.removesuffix(first)
            if key.endswith(first) and prefix[-1:] in ("", ".") and _holds(spelling, prefix, given.state):
                return _under(spelling, prefix, given)
    return given


def _holds(spelling: Spelling, prefix: str, state: Mapping[str, Tensor]) -> bool:
    if spelling.unless and any(key.startswith(spelling.unless) for key in state):
        return False
    return all(prefix + anchor in state for anchor in spelling.anchors)


def _under(spelling: Spelling, prefix: str, given: Canonical) -> Canonical:
    own = {key[len(prefix) :]: value for key, value in given.state.items() if key.startswith(prefix)}
    beside = {key: value for key, value in given.state.items() if not key.startswith(prefix)}
    state = {prefix + key: value for key, value in spelling.rewrite(own).items()} | beside
    notes = (*given.notes, f"the network is named as {spelling.name}")
    return replace(given, state=state, notes=notes, prefer=spelling.prefer)
