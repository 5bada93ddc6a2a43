"""Round trips of conventions beyond torchvision and timm: build, save in two formats, identify, run, same output."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from reid_audit.arch import identify, match
from reid_audit.arch.beside import config_beside
from reid_audit.arch.families import FAMILIES, recognise
from reid_audit.arch.index import shipped
from reid_audit.checkpoint import load_checkpoint
from reid_audit.errors import ArchitectureError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One tiny network of a family."""

    package: str
    build: Callable[[Any], nn.Module]
    name: str
    side: int
    channels: int = 3
    classes: int = 3
    output: Callable[[Any], Tensor] = lambda output: output
    config: dict[str, Any] | None = None
    tolerance: float = 1e-5


def logits(output: Any) -> Tensor:
    found: Tensor = output.logits
    return found


def class_token(output: Any) -> Tensor:
    found: Tensor = output.last_hidden_state[:, 0]
    return found


SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
SMALL |= {"image_size": 32, "patch_size": 8, "num_labels": 3}
CLIP = {k: v for k, v in SMALL.items() if k != "num_labels"}


def of_transformers(name: str, **options: Any) -> Callable[[Any], nn.Module]:
    def build(library: Any) -> nn.Module:
        config_name = name.split("For")[0].removesuffix("Model") + "Config"
        built: nn.Module = getattr(library, name)(getattr(library, config_name)(**options))
        return built

    return build


def unprojected(tower: Any) -> Any:
    """The tower with a projection that changes nothing, because the audit leaves projections out."""
    tower.proj = nn.Parameter(torch.eye(tower.proj.shape[0]))
    return tower


SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
NNUNET = {
    "conv_bias": True, "norm_op": nn.InstanceNorm2d, "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}, "deep_supervision": False,
}  # fmt: skip
NARROW = {"decoder_channels": (32, 24, 16, 16, 16)}
SMP: dict[str, dict[str, Any]] = {
    "Unet": NARROW, "UnetPlusPlus": NARROW, "MAnet": NARROW | {"decoder_pab_channels": 16}, "Linknet": {},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}, "PSPNet": {"psp_out_channels": 32},
    "DeepLabV3": {"decoder_channels": 32}, "DeepLabV3Plus": {"decoder_channels": 32}, "PAN": {}, "UPerNet": {},
    "Segformer": {},
}  # fmt: skip
CASES: dict[str, Case] = {
    "hf-vit": Case("transformers", of_transformers("ViTForImageClassification", **SMALL), "ViT", 32, output=logits),
    "hf-vit-features": Case(
        "transformers", of_transformers("ViTModel", **CLIP), "ViT", 32, classes=0, output=class_token
    ),
    "hf-deit": Case("transformers", of_transformers("DeiTForImageClassification", **SMALL), "DeiT", 32, output=logits),
    "hf-deit-distilled": Case(
        "transformers", of_transformers("DeiTForImageClassificationWithTeacher", **SMALL), "DeiT", 32, output=logits
    ),
    "hf-beit": Case("transformers", of_transformers(
        "BeitForImageClassification", use_relative_position_bias=True, **SMALL), "BEiT", 32, output=logits),
    "hf-dinov2": Case("transformers", of_transformers(
        "Dinov2ForImageClassification", **{k: v for k, v in SMALL.items() if k != "intermediate_size"}),
        "DINOv2", 32, output=logits),
    "hf-swin": Case("transformers", of_transformers("SwinForImageClassification", num_labels=3, **SWIN), "Swin", 32,
                    output=logits, config={"image_size": 32}),
    "hf-convnext": Case("transformers", of_transformers(
        "ConvNextForImageClassification", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], num_labels=3), "ConvNeXt",
        64, output=logits),
    "hf-resnet": Case("transformers", of_transformers(
        "ResNetForImageClassification", depths=[1, 1, 1, 1], hidden_sizes=[64, 128, 256, 512], layer_type="basic",
        num_labels=3), "ResNet", 64, output=logits),
    "hf-clip": Case("transformers", of_transformers("CLIPVisionModel", **CLIP), "CLIP-ViT", 32, classes=0,
                    output=lambda o: o.pooler_output),
    "open-clip-vit": Case("open_clip", lambda m: unprojected(m.transformer.VisionTransformer(
        32, 8, 128, 2, 2, 2.0, output_dim=128)),
                          "CLIP-ViT", 32, classes=0),
    "open-clip-resnet": Case("open_clip", lambda m: m.modified_resnet.ModifiedResNet([1, 1, 1, 1], 16, 4, 64, 8),
                             "CLIP-ResNet", 64, classes=0),
    "monai-densenet": Case("monai.networks.nets", lambda m: m.DenseNet(
        2, 1, 3, init_features=8, growth_rate=4, block_config=(1, 2, 2, 1)), "DenseNet", 64, 1),
    "monai-resnet": Case("monai.networks.nets", lambda m: m.resnet10(spatial_dims=2, n_input_channels=1, num_classes=3),
                         "ResNet", 32, 1),
    "monai-seresnet": Case("monai.networks.nets", lambda m: m.senet.SENet(
        2, 1, "se_resnet_bottleneck", (1, 1, 1, 1), 1, 16, None, inplanes=64, downsample_kernel_size=1, input_3x3=False,
        num_classes=3), "SEResNet", 64, 1),
    "monai-seresnext": Case("monai.networks.nets", lambda m: m.senet.SENet(
        2, 3, "se_resnetxt_bottleneck", (1, 1, 1, 1), 32, 16, None, inplanes=64, downsample_kernel_size=1,
        input_3x3=False, num_classes=3), "SEResNext", 64),
    "monai-efficientnet": Case("monai.networks.nets", lambda m: m.EfficientNetBN(
        "efficientnet-b0", pretrained=False, in_channels=1, num_classes=3), "EfficientNet-B0", 224, 1),
    "monai-vit": Case("monai.networks.nets", lambda m: m.ViT(
        1, (32, 32), (8, 8), 128, 96, 2, 2, classification=True, spatial_dims=2, num_classes=3), "ViT", 32, 1,
        output=lambda o: o[0]),
    "monai-vit-perceptron": Case("monai.networks.nets", lambda m: m.ViT(
        1, (32, 32), (8, 8), 128, 96, 2, 2, proj_type="perceptron", spatial_dims=2), "ViT", 32, 1, 0,
        output=lambda o: o[0].mean(dim=1)),
    "monai-unet": Case("monai.networks.nets", lambda m: m.UNet(2, 1, 3, (4, 8, 16), (2, 2)), "UNet", 32, 1),
    "monai-unet-residual": Case("monai.networks.nets", lambda m: m.UNet(
        2, 1, 3, (4, 8, 16, 32), (2, 1, 2), num_res_units=2, norm="batch"), "UNet", 32, 1),
    "monai-swin-unetr": Case("monai.networks.nets", lambda m: m.SwinUNETR(
        1, 3, feature_size=12, spatial_dims=2, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2)), "SwinUNETR", 64, 1),
    "nnunet-plain": Case("dynamic_network_architectures.architectures.unet", lambda m: m.PlainConvUNet(
        1, 3, (4, 8, 16), nn.Conv2d, 3, (1, 2, 2), 2, num_classes=3, n_conv_per_stage_decoder=[2, 1], **NNUNET),
        "PlainConvUNet", 32, 1),
    "nnunet-residual": Case("dynamic_network_architectures.architectures.unet", lambda m: m.ResidualEncoderUNet(
        1, 3, (4, 8, 16), nn.Conv2d, 3, (1, 2, 2), [1, 2, 2], num_classes=3, n_conv_per_stage_decoder=[1, 1], **NNUNET),
        "ResidualEncoderUNet", 32, 1),
    **{f"smp-{name}": Case("segmentation_models_pytorch", lambda m, name=name, options=options: getattr(m, name)(  # type: ignore[misc]
        "resnet18", encoder_weights=None, in_channels=1, classes=3, **options), f"{name}-resnet18", 128, 1)
       for name, options in SMP.items()},
    "smp-se": Case("segmentation_models_pytorch", lambda m: m.Unet(
        "mobilenet_v2", encoder_depth=4, decoder_channels=(32, 16, 16, 16), decoder_attention_type="scse",
        encoder_weights=None, classes=3), "Unet-mobilenet_v2", 64),
}  # fmt: skip


def randomised(module: nn.Module) -> nn.Module:
    """Every weight and buffer different from its initial value, so that a lost or swapped entry shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and value.dim() < 2:
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + (0.5 if "var" in name else 0.3))
    return module.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_round_trip_in_two_formats(case: Case) -> None:
    library = pytest.importorskip(case.package, reason=f"{case.package} is an optional extra")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = randomised(case.build(library))
    state = {k: v.detach().clone() for k, v in module.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({f"module.{k}": v for k, v in state.items()}, buffer)
    buffer.seek(0)
    images = torch.rand(2, case.channels, case.side, case.side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = case.output(module(images))
    for loaded in (load_safetensors(save_safetensors(state)), torch.load(buffer, weights_only=True)):
        target = identify(loaded, side=case.side, config=case.config)
        found = target.match
        assert (found.name, found.classes, found.channels) == (case.name, case.classes, case.channels)
        assert found.side == case.side
        with torch.no_grad():
            torch.testing.assert_close(target.module(images), expected, rtol=1e-4, atol=case.tolerance)


NARROW_HEADS = {"num_attention_heads": 4, "layer_norm_eps": 1e-3}
"""Not one head per 64 channels, and an epsilon that shows: only config.json can tell."""
SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("ViTForImageClassification", SMALL | NARROW_HEADS),
    "DeiT": ("DeiTForImageClassification", SMALL | NARROW_HEADS),
    "BEiT": ("BeitForImageClassification", SMALL | NARROW_HEADS | {"use_relative_position_bias": True}),
    "DINOv2": ("Dinov2ForImageClassification", {k: v for k, v in (SMALL | NARROW_HEADS).items() if k[:5] != "inter"}),
    "Swin": ("SwinForImageClassification", SWIN | {"num_labels": 3, "layer_norm_eps": 1e-3}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAVED)
def test_a_saved_folder_with_its_configuration(name: str, tmp_path: Path) -> None:
    """``save_pretrained`` writes the names used before release 5, and config.json."""
    library = pytest.importorskip("transformers", reason="transformers is the oracle of this test")
    model, options = SAVED[name]
    module = randomised(of_transformers(model, **options)(library))
    module.save_pretrained(tmp_path)  # type: ignore[operator]
    path = tmp_path / "model.safetensors"
    target = identify(load_checkpoint(path).tensors, config=config_beside(path))
    assert (target.match.name, target.match.side) == (name, 32)
    assert target.match.coverage > 0.95
    assert "config.json beside the file was read" in target.match.evidence
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(images).logits
        torch.testing.assert_close(target.module(images), expected, rtol=1e-4, atol=1e-5)
    assert target.match.evidence != match(load_checkpoint(path).tensors).evidence


def huge_vit() -> State:
    """Keys of transformers' ViT, as releases before 5 name them, on the meta device."""
    width, state = 1280, dict[str, Tensor]()
    shapes = {"attention.attention.query": (width, width), "attention.attention.key": (width, width),
              "attention.attention.value": (width, width), "attention.output.dense": (width, width),
              "intermediate.dense": (5120, width), "output.dense": (width, 5120), "layernorm_before": (width,),
              "layernorm_after": (width,)}  # fmt: skip
    for block in range(32):
        for name, shape in shapes.items():
            state[f"vit.encoder.layer.{block}.{name}.weight"] = torch.empty(shape, device="meta")
            state[f"vit.encoder.layer.{block}.{name}.bias"] = torch.empty(shape[:1], device="meta")
    top = {"embeddings.cls_token": (1, 1, width), "embeddings.position_embeddings": (1, 257, width),
           "embeddings.patch_embeddings.projection.weight": (width, 3, 14, 14), "layernorm.weight": (width,),
           "embeddings.patch_embeddings.projection.bias": (width,), "layernorm.bias": (width,)}  # fmt: skip
    return state | {f"vit.{key}": torch.empty(shape, device="meta") for key, shape in top.items()}


def test_a_huge_network_is_matched_without_storage() -> None:
    state = huge_vit()
    assert sum(value.numel() for value in state.values()) > 600e6
    found = match(state, config={"num_attention_heads": 16})
    assert (found.library, found.name, found.side, found.coverage) == ("transformers", "ViT", 224, 1.0)


def monai_densenet() -> State:
    import torchvision

    module = torchvision.models.DenseNet(4, (1, 1, 1, 1), 8, num_classes=2)
    renamed = {}
    for key, value in module.state_dict().items():
        short = key.replace("classifier.", "class_layers.out.")
        renamed[short.replace("denselayer1.", "denselayer1.layers.")] = value
    return renamed


def test_the_activation_of_clip_is_declared_or_doubted() -> None:
    library = pytest.importorskip("open_clip", reason="open_clip is the oracle of this test")
    state = library.transformer.VisionTransformer(32, 8, 128, 2, 2, 2.0, output_dim=128).state_dict()
    found = match(state)
    assert any("QuickGELU" in line for line in found.doubts)
    assert not match(state, name="open_clip/CLIP-ViT").doubts
    assert not match(state, config={"quick_gelu": False, "model_type": "clip"}).doubts
    for quick in (
        match(state, name="openai/CLIP-ViT"),
        match({f"visual.{k}": v for k, v in state.items()} | {"context_length": torch.tensor(77)}),
    ):
        assert not quick.doubts
        assert any(line.startswith("QuickGELU") for line in quick.evidence)


def test_a_family_by_name() -> None:
    state = monai_densenet()
    assert match(state, name="monai/densenet").by == "option"
    with pytest.raises(ArchitectureError) as caught:
        match(state, name="monai/SwinUNETR")
    assert "the keys are not those of monai/SwinUNETR" in caught.value.what


def test_a_near_miss_of_a_family_explains_itself() -> None:
    state = monai_densenet()
    del state["features.norm5.weight"]
    state["features.attention.weight"] = torch.zeros(2, 2)
    with pytest.raises(ArchitectureError) as caught:
        match(state)
    total = sum(value.is_floating_point() for value in state.values())
    assert f"DenseNet (monai): {total - 1} of {total} keys" in caught.value.closest
    assert "first missing features.norm5.weight" in caught.value.closest
    assert "first unexpected features.attention.weight" in caught.value.closest


def test_networks_for_volumes_are_named_and_refused() -> None:
    state = {k: v.unsqueeze(-1) if v.dim() == 4 else v for k, v in monai_densenet().items()}
    with pytest.raises(ArchitectureError) as caught:
        match(state)
    assert caught.value.what == "the state_dict is a monai/DenseNet for volumes (3-D network)"
    assert "two-dimensional" in caught.value.remedy


def test_no_network_of_the_index_is_taken_for_a_family() -> None:
    index = shipped()
    for entry in index.entries:
        state: Any = dict.fromkeys(index.described(entry))
        family = recognise(state)
        assert family is None, f"{entry.name} is taken for {family.label}"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {
        "swinViT.patch_embed.proj.weight": torch.zeros(12, 1, 2, 2),
        "encoder1.layer.conv1.conv.weight": torch.zeros(12, 1, 3, 3),
    }
    monkeypatch.setattr("reid_audit.arch.families.table.find_spec", lambda name: None)
    with pytest.raises(ArchitectureError) as caught:
        match(state)
    assert caught.value.remedy == "install reid-audit[monai]"
    assert "monai/SwinUNETR" in caught.value.what
    assert caught.value.exit_code == 3
    assert len(caught.value.lines()) == 3


def test_every_family_that_needs_a_library_names_an_extra() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    offered = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    for family in FAMILIES:
        assert (family.package is None) == (family.extra is None)
        assert family.extra is None or family.extra in offered
