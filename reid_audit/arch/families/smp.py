"""segmentation_models_pytorch: the decoder by its keys, the encoder by trying those whose first keys fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from reid_audit.arch.build_index import signature
from reid_audit.arch.catalogue import on_meta
from reid_audit.arch.families.base import Family, Given, Recipe, flat_only
from reid_audit.arch.near import FACTORY
from reid_audit.errors import ArchitectureError

PACKAGE = "segmentation_models_pytorch"
ENCODERS: tuple[tuple[str, str], ...] = (
    (r"layer1\.0\.bn1\.", r"resnet|resnext"),
    (r"layer1\.0\.conv1\.(conv|split)|layer1\.0\.conv2\.(conv|attn)", r"timm-sk"),
    (r"layer0\.conv1\.", r"se_|senet"),
    (r"features\.denseblock1\.", r"densenet"),
    (r"features\.0\.0\.", r"mobilenet"),
    (r"features\.0\.", r"vgg"),
    (r"_conv_stem\.", r"efficientnet"),
    (r"conv_stem\.", r"timm-(tf_)?efficientnet"),
    (r"patch_embed1\.", r"mit_"),
    (r"stage0\.", r"mobileone"),
)
"""An own key of the encoder -> names of the encoders that have it. The first that fits decides."""
AUXILIARY = r"classification_head\."
"""The head for whole images, which has no part in the map."""
Options = dict[str, Any]


def _unet(given: Given) -> Options:
    levels = given.count(r"decoder\.blocks\.(\d+)\.")
    return {
        "encoder_depth": levels,
        "decoder_channels": tuple(given.shape(f"decoder.blocks.{i}.conv2.0.weight")[0] for i in range(levels)),
        "decoder_attention_type": "scse" if given.has(r"decoder\.blocks\.0\.attention1\.") else None,
    }


def _unetplusplus(given: Given) -> Options:
    levels = given.count(r"decoder\.blocks\.x_0_(\d+)\.")
    return {
        "encoder_depth": levels,
        "decoder_channels": tuple(given.shape(f"decoder.blocks.x_0_{i}.conv2.0.weight")[0] for i in range(levels)),
        "decoder_attention_type": "scse" if given.has(r"decoder\.blocks\.x_0_0\.attention1\.") else None,
    }


def _manet(given: Given) -> Options:
    levels = given.count(r"decoder\.blocks\.(\d+)\.")
    return {
        "encoder_depth": levels,
        "decoder_channels": tuple(given.shape(f"decoder.blocks.{i}.conv2.0.weight")[0] for i in range(levels)),
        "decoder_pab_channels": given.shape("decoder.center.top_conv.weight")[0],
    }


def _fpn(given: Given) -> Options:
    return {
        "decoder_pyramid_channels": given.shape("decoder.p5.weight")[0],
        "decoder_segmentation_channels": given.shape("decoder.seg_blocks.0.block.0.block.0.weight")[0],
    }


def _psp(given: Given) -> Options:
    return {"psp_out_channels": given.shape("decoder.conv.0.weight")[0]}


def _deeplab(given: Given) -> Options:
    return {"decoder_channels": given.shape("decoder.aspp.convs.0.0.weight")[0]}


def _deeplab_plus(given: Given) -> Options:
    return {"decoder_channels": given.shape("decoder.aspp.0.convs.0.0.weight")[0]}


def _default(_given: Given) -> Options:
    return {}


DECODERS: dict[str, tuple[str, Callable[[Given], Options]]] = {
    "UnetPlusPlus": (r"decoder\.blocks\.x_0_0\.conv1\.0\.weight", _unetplusplus),
    "MAnet": (r"decoder\.center\.top_conv\.weight", _manet),
    "Unet": (r"decoder\.blocks\.0\.conv1\.0\.weight", _unet),
    "Linknet": (r"decoder\.blocks\.0\.block\.0\.0\.weight", _default),
    "FPN": (r"decoder\.p5\.weight", _fpn),
    "UPerNet": (r"decoder\.feature_norms\.0\.weight|decoder\.fpn_lateral_blocks\.0\..*", _default),
    "PSPNet": (r"decoder\.psp\.blocks\.0\.pool\.1\.0\.weight", _psp),
    "DeepLabV3Plus": (r"decoder\.aspp\.0\.convs\.0\.0\.weight", _deeplab_plus),
    "DeepLabV3": (r"decoder\.aspp\.convs\.0\.0\.weight", _deeplab),
    "PAN": (r"decoder\.fpa\.branch1\.1\.conv\.weight", _default),
    "Segformer": (r"decoder\.mlp_stage\.0\.linear\.weight", _default),
}


def read(given: Given) -> Recipe:
    """Raises ArchitectureError where decoder or encoder is not one of the library's."""
    import segmentation_models_pytorch as library

    flat_only(given, "smp network")
    decoder, options = _decoder(given)
    classes = given.shape("segmentation_head.0.weight")[0]
    encoder, channels = _encoder(given)
    build = partial(
        getattr(library, decoder), encoder, encoder_weights=None, in_channels=channels, classes=classes, **options
    )
    return Recipe(
        name=f"{decoder}-{encoder}",
        build=build,
        state={key: value for key, value in given.own.items() if not re.match(AUXILIARY, key)},
        dropped=AUXILIARY,
        used=len(given.own),
        channels=channels,
        classes=classes,
        head="segmentation",
        side=given.side or 256,
        evidence=(
            f"encoder {encoder} found by building those of its kind and comparing shapes",
            "dilations, the upsampling and a final activation are in no shape: the library's defaults are assumed",
        ),
    )


def _decoder(given: Given) -> tuple[str, Options]:
    for name, (anchor, options) in DECODERS.items():
        if any(re.fullmatch(anchor, key) for key in given.own):
            return name, options(given)
    first = next((key for key in given.own if key.startswith("decoder.")), "no decoder")
    raise ArchitectureError("the decoder is not one of segmentation_models_pytorch", closest=first[:80], remedy=FACTORY)


def _encoder(given: Given) -> tuple[str, int]:
    """Name and input channels of the encoder whose keys and shapes are those of the file."""
    import segmentation_models_pytorch as library

    own = {k.removeprefix("encoder."): given.shape(k) for k in given.ordered() if k.startswith("encoder.")}
    channels = next((shape[1] for shape in own.values() if len(shape) == 4 and shape[2] > 1 and shape[1] <= 16), 3)
    kinds = next((kinds for anchor, kinds in ENCODERS if any(re.match(anchor, key) for key in own)), ".*")
    names = sorted(n for n in library.encoders.encoders if re.match(kinds, n))
    near: tuple[int, str] = (0, "none")
    for name in names:
        theirs = _signature(name, channels)
        same = sum(own.get(key) == shape for key, shape in theirs.items())
        if same == len(own) == len(theirs):
            return name, channels
        near = max(near, (same, name))
    raise ArchitectureError(
        "the encoder is not one that segmentation_models_pytorch builds by name here",
        closest=f"{near[1]}: {near[0]} of {len(own)} keys; first key {next(iter(own), 'none')[:80]}",
        remedy=FACTORY,
    )


@lru_cache(maxsize=128)
def _signature(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    import segmentation_models_pytorch as library

    return signature(on_meta(partial(library.encoders.get_encoder, name, in_channels=channels, weights=None)))


FAMILIES = (
    Family(
        "smp", "segmentation", (r"segmentation_head\.0\.weight", r"encoder\..+", r"decoder\..+"), read,
        package=PACKAGE, extra="smp",
    ),
)  # fmt: skip
