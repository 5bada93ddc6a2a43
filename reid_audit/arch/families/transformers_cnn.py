"""Hugging Face transformers, convolutional image models: ConvNeXt runs as timm's, ResNet as torchvision's."""

from __future__ import annotations

from typing import Any

from torch import nn

from reid_audit.arch.catalogue import replace_input
from reid_audit.arch.families.base import Family, Given, Recipe, Rule, head_kind, rename
from reid_audit.arch.families.transformers import classifier, from_config, only_gelu

CONVNEXT = (
    (r"^embeddings\.patch_embeddings\.", "stem.0."),
    (r"^embeddings\.layernorm\.", "stem.1."),
    (r"^encoder\.stages\.(\d+)\.downsampling_layer\.", r"stages.\1.downsample."),
    (r"^encoder\.stages\.(\d+)\.layers\.", r"stages.\1.blocks."),
    (r"\.layer_scale_parameter$", ".gamma"),
    (r"\.dwconv\.", ".conv_dw."),
    (r"(blocks\.\d+)\.layernorm\.", r"\1.norm."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"^layernorm\.", "head.norm."),
)


def convnext(given: Given) -> Recipe:
    """ConvNeXt: timm's ConvNeXt."""
    from timm.models.convnext import ConvNeXt

    only_gelu(given)
    body = rename(given.own, CONVNEXT)
    head, classes = classifier(given, "head.fc")
    stages = given.count(r"encoder\.stages\.(\d+)\.")
    _, channels, _, patch = body["stem.0.weight"].shape

    def build() -> nn.Module:
        module = ConvNeXt(
            in_chans=channels,
            num_classes=classes,
            depths=tuple(given.count(rf"encoder\.stages\.{i}\.layers\.(\d+)\.") for i in range(stages)),
            dims=tuple(int(body[f"stages.{i}.blocks.0.gamma"].shape[0]) for i in range(stages)),
            patch_size=patch,
        )
        last: Any = module.head.norm
        last.eps = given.real("layer_norm_eps", 1e-12)
        return module

    return Recipe(
        name="ConvNeXt",
        build=build,
        state=body | head,
        used=len(given.own) + len(head),
        channels=channels,
        classes=classes,
        head=head_kind(classes),
        side=given.side or given.number("image_size", 224),
        evidence=from_config(given),
    )


RESNET: tuple[Rule, ...] = (
    (r"^embedder\.embedder\.", "stem."),
    (r"^stem\.convolution\.", "conv1."),
    (r"^stem\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.", lambda m: f"layer{int(m.group(1)) + 1}."),
    (r"\.layer\.(\d+)\.convolution\.", lambda m: f".conv{int(m.group(1)) + 1}."),
    (r"\.layer\.(\d+)\.normalization\.", lambda m: f".bn{int(m.group(1)) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
)


def resnet(given: Given) -> Recipe:
    """ResNet: torchvision's, basic or bottleneck blocks."""
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    body = rename(given.own, RESNET)
    head, classes = classifier(given, "fc", "classifier.1", "classifier")
    depths = [given.count(rf"encoder\.stages\.{i}\.layers\.(\d+)\.") for i in range(4)]
    block = Bottleneck if "layer1.0.conv3.weight" in body else BasicBlock
    channels = int(body["conv1.weight"].shape[1])

    def build() -> nn.Module:
        module: nn.Module = ResNet(block, depths, num_classes=classes or 1)
        if channels != 3:
            replace_input(module, channels)
        if not classes:
            module.fc = nn.Identity()
        return module

    return Recipe(
        name="ResNet",
        build=build,
        state=body | head,
        used=len(given.own) + len(head),
        channels=channels,
        classes=classes,
        head=head_kind(classes),
        side=given.side or 224,
        evidence=from_config(given),
    )


FAMILIES = (
    Family(
        "transformers",
        "ConvNeXt",
        (r"embeddings\.patch_embeddings\.weight", r"encoder\.stages\.0\.layers\.0\.dwconv\.weight"),
        convnext,
        absent=(r".*\.grn\.",),
    ),
    Family(
        "transformers",
        "ResNet",
        (r"embedder\.embedder\.convolution\.weight", r"encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.weight"),
        resnet,
    ),
)
