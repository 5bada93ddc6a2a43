"""MONAI's two-dimensional networks. DenseNet and ResNet run as torchvision's; the others need MONAI itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isqrt
from typing import Any

from torch import Tensor, nn

from reid_audit.arch.catalogue import convolution_like, replace_input, set_module
from reid_audit.arch.families.base import (
    Family,
    Given,
    Recipe,
    attention_heads,
    flat_only,
    head_kind,
    rename,
    square,
)  # fmt: skip

DENSE = ((r"\.layers\.(norm1|conv1|norm2|conv2)\.", r".\1."), (r"^class_layers\.out\.", "classifier."))
STANDARD: dict[tuple[int, int, tuple[int, ...]], str] = {
    (64, 32, (6, 12, 24, 16)): "121",
    (64, 32, (6, 12, 32, 32)): "169",
    (64, 32, (6, 12, 48, 32)): "201",
    (96, 48, (6, 12, 36, 24)): "264",
}
EFFICIENT = {(32, 1280, 1): 0, (32, 1280, 2): 1, (32, 1408, 2): 2, (40, 1536, 2): 3, (48, 1792, 2): 4, (48, 2048, 3): 5,
             (56, 2304, 3): 6, (64, 2560, 4): 7, (72, 2816, 4): 8}  # fmt: skip
"""Stem width, head width and blocks of the first stage -> the number in the name."""
SIDES = (224, 240, 260, 300, 380, 456, 528, 600, 672)
STRIDES = "the strides are in no shape: MONAI's usual ones are assumed"


def densenet(given: Given) -> Recipe:
    """DenseNet: the same function as torchvision's under other names."""
    from torchvision.models.densenet import DenseNet

    flat_only(given, "monai/DenseNet")
    body = rename(given.own, DENSE)
    blocks = tuple(
        given.count(rf"features\.denseblock{i}\.denselayer(\d+)\.") - 1
        for i in range(1, given.count(r"features\.denseblock(\d+)\."))
    )
    width, channels = given.shape("features.conv0.weight")[:2]
    growth = given.shape("features.denseblock1.denselayer1.layers.conv2.weight")[0]
    bottleneck = given.shape("features.denseblock1.denselayer1.layers.conv1.weight")[0] // growth
    classes = int(body["classifier.weight"].shape[0]) if "classifier.weight" in body else 0

    def build() -> nn.Module:
        module: nn.Module = DenseNet(growth, blocks, width, bottleneck, num_classes=classes or 1)
        if channels != 3:
            replace_input(module, channels)
        if not classes:
            module.classifier = nn.Identity()
        return module

    name = f"DenseNet{STANDARD.get((width, growth, blocks), '')}"
    return _recipe(given, name, build, body, channels, classes)


def _recipe(
    given: Given,
    name: str,
    build: Callable[[], nn.Module],
    state: dict[str, Tensor],
    channels: int,
    classes: int,
) -> Recipe:
    """A classifier's recipe, for the input side that is given or else 224 px."""
    return Recipe(
        name=name,
        build=build,
        state=state,
        used=len(given.own),
        channels=channels,
        classes=classes,
        head=head_kind(classes),
        side=given.side or 224,
    )


def resnet(given: Given) -> Recipe:
    """ResNet with biased shortcuts: torchvision's with stride 1 in the first convolution."""
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    flat_only(given, "monai/ResNet")
    _, channels, *kernel = given.shape("conv1.weight")
    depths = [given.count(rf"layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)]
    block = Bottleneck if "layer1.0.conv3.weight" in given.own else BasicBlock
    classes = given.shape("fc.weight")[0] if "fc.weight" in given.own else 0

    def build() -> nn.Module:
        module: nn.Module = ResNet(block, depths, num_classes=classes or 1)
        size = (kernel[0], kernel[1])
        for path, child in list(module.named_modules()):
            if path == "conv1" and isinstance(child, nn.Conv2d):
                module.conv1 = convolution_like(child, channels=channels, kernel=size, stride=(1, 1))
            elif path.endswith("downsample.0") and isinstance(child, nn.Conv2d):
                set_module(module, path, convolution_like(child, channels=child.in_channels, bias=True))
        if not classes:
            module.fc = nn.Identity()
        return module

    note = "the first convolution's stride and the pooling are in no shape: MONAI's stride 1 and max-pooling assumed"
    return replace(_recipe(given, "ResNet", build, dict(given.own), channels, classes), evidence=(note,))


def senet(given: Given) -> Recipe:
    """SENet, SEResNet and SEResNeXt, built by MONAI."""
    from monai.networks.nets.senet import SENet

    flat_only(given, "monai/SENet")
    width, channels = given.shape("layer0.conv1.weight")[:2]
    out, taken = given.shape("layer1.0.conv2.conv.weight")[:2]
    outer, inner = given.shape("layer1.0.se_layer.fc.0.weight")[::-1]
    deep_stem = "layer0.conv2.weight" in given.own
    classes = given.shape("last_linear.weight")[0] if "last_linear.weight" in given.own else 0
    kind = "se_bottleneck" if deep_stem else "se_resnet_bottleneck" if out == taken else "se_resnetxt_bottleneck"
    build = partial(
        SENet,
        spatial_dims=2,
        in_channels=channels,
        block=kind,
        layers=[given.count(rf"layer{i}\.(\d+)\.") for i in (1, 2, 3, 4)],
        groups=out // taken,
        reduction=outer // inner,
        dropout_prob=None,
        inplanes=given.shape("layer0.conv3.weight")[0] if deep_stem else width,
        downsample_kernel_size=given.shape("layer2.0.project.conv.weight")[2],
        input_3x3=deep_stem,
        num_classes=classes or 1,
    )
    names = {"se_bottleneck": "SENet", "se_resnet_bottleneck": "SEResNet", "se_resnetxt_bottleneck": "SEResNext"}
    return _recipe(given, names[kind], _headless(build, "last_linear", classes), dict(given.own), channels, classes)


def _headless(build: Callable[[], nn.Module], head: str, classes: int) -> Callable[[], nn.Module]:
    def without() -> nn.Module:
        module = build()
        setattr(module, head, nn.Identity())
        return module

    return build if classes else without


def efficientnet(given: Given) -> Recipe:
    """EfficientNet-B0 to B8, built by MONAI, whose padding is fixed for the network's usual input size."""
    from monai.networks.nets.efficientnet import EfficientNetBN

    flat_only(given, "monai/EfficientNet")
    width, channels = given.shape("_conv_stem.weight")[:2]
    number = EFFICIENT[(width, given.shape("_conv_head.weight")[0], given.count(r"_blocks\.0\.(\d+)\."))]
    classes = given.shape("_fc.weight")[0] if "_fc.weight" in given.own else 0
    build = partial(
        EfficientNetBN, f"efficientnet-b{number}", pretrained=False, in_channels=channels, num_classes=classes or 1
    )
    note = f"MONAI pads for an input of {SIDES[number]} px, whatever the films' size"
    own, name = dict(given.own), f"EfficientNet-B{number}"
    made = _recipe(given, name, _headless(build, "_fc", classes), own, channels, classes)
    return replace(made, evidence=(note,), side=given.side or SIDES[number])


def vit(given: Given) -> Recipe:
    """ViT with or without classification head, built by MONAI."""
    from monai.networks.nets.vit import ViT

    evidence: list[str] = []
    flat_only(given, "monai/ViT")
    tokens, width = given.shape("patch_embedding.position_embeddings")[1:]
    if "patch_embedding.patch_embeddings.weight" in given.own:
        _, channels, patch, _ = given.shape("patch_embedding.patch_embeddings.weight")
    else:
        area = given.shape("patch_embedding.patch_embeddings.1.weight")[1]
        channels = next((c for c in (1, 3, 2, 4) if area % c == 0 and isqrt(area // c) ** 2 == area // c), 1)
        patch = isqrt(area // channels)
        evidence.append(f"patches of {area} values: {channels} channels of {patch} x {patch} px assumed")
    side = square(tokens, "patches") * patch
    tanh, plain = "classification_head.0.weight" in given.own, "classification_head.weight" in given.own
    classes = given.shape(f"classification_head.{'0.' if tanh else ''}weight")[0] if tanh or plain else 0
    if tanh:
        evidence.append("the classifier's outputs pass MONAI's tanh")
    build = partial(
        ViT,
        channels,
        (side, side),
        (patch, patch),
        width,
        given.shape("blocks.0.mlp.linear1.weight")[0],
        given.count(r"blocks\.(\d+)\."),
        attention_heads(given, width, evidence),
        proj_type="conv" if "patch_embedding.patch_embeddings.weight" in given.own else "perceptron",
        classification="cls_token" in given.own,
        num_classes=classes or 1,
        spatial_dims=2,
        post_activation="Tanh" if tanh else "none",
        qkv_bias="blocks.0.attn.qkv.bias" in given.own,
    )
    return Recipe(
        "ViT", build, dict(given.own), len(given.own), channels, classes, head_kind(classes), side, from_weights=True,
        evidence=tuple(evidence), select=_logits if classes else _mean_token, optional=r".*cross_attn\.",
    )  # fmt: skip


def _logits(output: Any) -> Tensor:
    logits: Tensor = output[0]
    return logits


def _mean_token(output: Any) -> Tensor:
    feature: Tensor = output[0].mean(dim=1)
    return feature


def unet(given: Given) -> Recipe:
    """UNet with plain or residual units, built by MONAI; levels are nested, each inside the skip of the one above."""
    from monai.networks.nets.unet import UNet

    flat_only(given, "monai/UNet")
    units = max(0, given.count(r"0\.conv\.unit(\d+)\."))
    unit = "conv.unit0.conv.weight" if units else "conv.weight"
    channels, strides, path = [], [], ""
    while f"{path}0.{unit}" in given.own:
        channels.append(given.shape(f"{path}0.{unit}")[0])
        strides.append(_stride(given, f"{path}0.residual.weight") if units else 2)
        path += "1.submodule."
    up = "2.0.conv.weight" if "2.0.conv.weight" in given.own else "2.conv.weight"
    classes = given.shape(up)[1]
    build = partial(
        UNet,
        2,
        given.shape(f"0.{unit}")[1],
        classes,
        [*channels, given.shape(f"{path}{unit}")[0]],
        strides,
        kernel_size=given.shape(f"0.{unit}")[2],
        up_kernel_size=given.shape(up)[2],
        num_res_units=units,
        act="PRELU" if given.has(r".*adn\.A\.weight") else "RELU",
        norm=_norm(given, r".*adn\.N"),
        bias=f"0.{unit.removesuffix('weight')}bias" in given.own,
    )
    state = {f"model.{key}": value for key, value in given.own.items()}
    return Recipe(
        "UNet", build, state, len(given.own), given.shape(f"0.{unit}")[1], classes, "segmentation", given.side or 256,
        evidence=(STRIDES, "instance normalisation without weights assumed where no normalisation is in the file"),
    )  # fmt: skip


def _stride(given: Given, key: str) -> int:
    """The residual path has the block's kernel where the block is strided, else 1x1 or nothing."""
    return 2 if key in given.own and given.shape(key)[2] > 1 else 1


def _norm(given: Given, where: str) -> Any:
    if given.has(where + r"\.running_mean"):
        return "batch"
    return ("instance", {"affine": True}) if given.has(where + r"\.weight") else "instance"


def swin_unetr(given: Given) -> Recipe:
    """SwinUNETR, built by MONAI; heads and window follow from the tables of relative positions."""
    from monai.networks.nets.swin_unetr import SwinUNETR

    flat_only(given, "monai/SwinUNETR")
    width, channels, patch, _ = given.shape("swinViT.patch_embed.proj.weight")
    blocks = [f"swinViT.layers{i}.0.blocks" for i in (1, 2, 3, 4)]
    tables = [given.shape(f"{path}.0.attn.relative_position_bias_table") for path in blocks]
    classes = given.shape("out.conv.conv.weight")[0]
    build = partial(
        SwinUNETR,
        in_channels=channels,
        out_channels=classes,
        patch_size=patch,
        depths=[given.count(re.escape(path) + r"\.(\d+)\.") for path in blocks],
        num_heads=[table[1] for table in tables],
        window_size=(square(tables[0][0], "offsets") + 1) // 2,
        qkv_bias=f"{blocks[0]}.0.attn.qkv.bias" in given.own,
        mlp_ratio=given.shape(f"{blocks[0]}.0.mlp.linear1.weight")[0] / width,
        feature_size=width,
        norm_name=_norm(given, r"encoder1\.layer\.norm1"),
        spatial_dims=2,
        use_v2=given.has(r"swinViT\.layers1c\."),
    )
    return Recipe(
        "SwinUNETR", build, dict(given.own), len(given.own), channels, classes, "segmentation", given.side or 96,
        evidence=("sides must be multiples of 32",),
    )  # fmt: skip


def _needs(name: str, anchors: tuple[str, ...], read: Callable[[Given], Recipe]) -> Family:
    return Family("monai", name, anchors, read, package="monai", extra="monai")


FAMILIES = (
    _needs("SwinUNETR", (r"swinViT\.patch_embed\.proj\.weight", r"encoder1\.layer\.conv1\.conv\.weight"), swin_unetr),
    _needs(
        "UNet",
        (r"0\.conv\.(unit0\.conv\.)?weight", r"1\.submodule\.(\d\.)?conv\..*weight", r"2\.(0\.)?conv\.weight"),
        unet,
    ),
    _needs("ViT", (r"patch_embedding\.position_embeddings", r"blocks\.0\.mlp\.linear1\.weight"), vit),
    _needs(
        "SENet",
        (r"layer0\.conv1\.weight", r"layer1\.0\.se_layer\.fc\.0\.weight", r"layer1\.0\.conv1\.conv\.weight"),
        senet,
    ),
    _needs("EfficientNet", (r"_conv_stem\.weight", r"_blocks\.0\.0\._depthwise_conv\.weight"), efficientnet),
    Family(
        "monai",
        "DenseNet",
        (r"features\.denseblock1\.denselayer1\.layers\.conv1\.weight", r"features\.conv0\.weight"),
        densenet,
    ),
    Family(
        "monai",
        "ResNet",
        (r"layer2\.0\.downsample\.0\.bias", r"conv1\.weight", r"bn1\.running_mean", r"layer1\.0\.conv1\.weight"),
        resnet,
    ),
)
