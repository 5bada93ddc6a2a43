"""nnU-Net v2's two-dimensional networks, built by dynamic-network-architectures."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from reid_audit.arch.families.base import Family, Given, Recipe, flat_only

PACKAGE = "dynamic_network_architectures"
ASSUMED = "leaky ReLU and no dropout assumed, as nnU-Net plans them; the output is the highest resolution's map"


def read(given: Given) -> Recipe:
    """Plain or residual encoder by its keys; strides are the kernels of the transposed convolutions."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    flat_only(given, "nnunet/U-Net")
    residual = "encoder.stem.convs.0.conv.weight" in given.own
    stages = given.count(r"encoder\.stages\.(\d+)\.")
    first = [f"encoder.stages.{i}.{'blocks.0.conv1' if residual else '0.convs.0'}.conv.weight" for i in range(stages)]
    shapes = [given.shape(key) for key in first]
    batch = given.has(r"encoder\..*\.norm\.running_mean")
    classes = given.shape("decoder.seg_layers.0.weight")[0]
    channels = given.shape("encoder.stem.convs.0.conv.weight")[1] if residual else shapes[0][1]
    ups = [given.shape(f"decoder.transpconvs.{i}.weight")[2:] for i in range(stages - 1)]
    per_stage = [
        given.count(rf"encoder\.stages\.{i}\.{'blocks' if residual else r'0.convs'}\.(\d+)\.") for i in range(stages)
    ]
    options: dict[str, Any] = {
        "input_channels": channels,
        "n_stages": stages,
        "features_per_stage": [shape[0] for shape in shapes],
        "conv_op": nn.Conv2d,
        "kernel_sizes": [list(shape[2:]) for shape in shapes],
        "strides": [[1, 1], *(list(up) for up in reversed(ups))],
        ("n_blocks_per_stage" if residual else "n_conv_per_stage"): per_stage,
        "num_classes": classes,
        "n_conv_per_stage_decoder": [given.count(rf"decoder\.stages\.{i}\.convs\.(\d+)\.") for i in range(stages - 1)],
        "conv_bias": first[0].removesuffix("weight") + "bias" in given.own,
        "norm_op": nn.BatchNorm2d if batch else nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": False,
    }
    own = {key: value for key, value in given.own.items() if not key.startswith("decoder.encoder.")}
    return Recipe(
        name="ResidualEncoderUNet" if residual else "PlainConvUNet",
        build=partial(ResidualEncoderUNet if residual else PlainConvUNet, **options),
        state=own,
        used=len(given.own),
        channels=channels,
        classes=classes,
        head="segmentation",
        side=given.side or 256,
        evidence=(ASSUMED,),
        optional=r"decoder\.encoder\.|.*\.all_modules\.",
    )


FAMILIES = (
    Family(
        "nnunet",
        "U-Net",
        (
            r"encoder\.stages\.0\.(0\.convs\.0|blocks\.0\.conv1)\.conv\.weight",
            r"decoder\.transpconvs\.0\.weight",
            r"decoder\.seg_layers\.0\.weight",
        ),
        read,
        package=PACKAGE,
        extra="nnunet",
    ),
)
