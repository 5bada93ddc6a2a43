"""Names of original repositories and older releases: saved in two formats, identified, same output."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from spelt import efficientnet_pytorch, old_swin, renamed, vit_pytorch
from test_rewritten import same, saved, scattered
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch import identify, match
from reid_audit.arch.families import recognise
from reid_audit.arch.spellings import SPELLINGS

State = dict[str, Tensor]


def convnext(state: State) -> State:
    """Names of ConvNeXt's own code; response normalisation as it keeps it."""
    done = renamed(
        state,
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
        (r"\.mlp\.grn\.weight$", ".grn.gamma"),
        (r"\.mlp\.grn\.bias$", ".grn.beta"),
        (r"^head\.fc\.", "head."),
        (r"^head\.norm\.", "norm."),
    )
    return {k: v.reshape(1, 1, 1, -1) if ".grn." in k else v for k, v in done.items()}


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[State], State], str, int]] = {
    "Swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=2), old_swin,
             "swin_tiny_patch4_window7_224", 224),
    "ConvNeXt": (lambda: timm.create_model("convnext_atto", num_classes=2), convnext, "convnext_atto", 64),
    "ConvNeXt V2": (lambda: timm.create_model("convnextv2_atto", num_classes=2), convnext, "convnextv2_atto", 64),
    "ViT-pytorch": (lambda: VisionTransformer(img_size=64, patch_size=16, embed_dim=192, depth=2, num_heads=3,
                                              num_classes=2), vit_pytorch, "VisionTransformer", 64),
    "efficientnet_pytorch": (lambda: timm.create_model("tf_efficientnet_b0", num_classes=2), efficientnet_pytorch,
                             "tf_efficientnet_b0", 64),
    "efficientnet_pytorch, larger": (lambda: timm.create_model("tf_efficientnet_b1", num_classes=2), lambda state: (
        efficientnet_pytorch(state, (0, 2, 5, 8, 12, 16, 21))), "tf_efficientnet_b1", 64),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_round_trip_in_two_formats(
    case: tuple[Callable[[], nn.Module], Callable[[State], State], str, int],
) -> None:
    build, spell, name, side = case
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = scattered(build())
    state = spell(dict(module.state_dict()))
    assert set(state) != set(module.state_dict())
    for loaded in saved({f"model.{k}": v for k, v in state.items()}):
        target = identify(loaded, side=side)
        found = target.match
        assert (found.name, found.classes, found.coverage, found.doubts) == (name, 2, 1.0, ())
        assert any("is named as" in line for line in found.evidence)
        same(target, module, side=side)


class CifarBlock(nn.Module):
    """A block with its shortcut as pytorch-cifar and MedMNIST write it."""

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(given)
        self.conv2 = nn.Conv2d(given, given, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(given)
        self.shortcut = nn.Sequential()
        if stride > 1 or taken != given:
            self.shortcut = nn.Sequential(nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given))

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """ResNet-18 for small images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for n in range(1, 5):
            first = CifarBlock(widths[n - 1], widths[n], 1 if n == 1 else 2)
            self.add_module(f"layer{n}", nn.Sequential(first, CifarBlock(widths[n], widths[n], 1)))
        self.linear = nn.Linear(512, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for n in range(1, 5):
            x = self.get_submodule(f"layer{n}")(x)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def test_a_resnet_for_small_images() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = scattered(CifarResNet())
    for loaded in saved(module.state_dict()):
        target = identify(loaded, side=28)
        assert (target.match.name, target.match.classes, target.match.channels) == ("resnet18", 9, 1)
        same(target, module, side=28, channels=1)


def test_sam_keeps_its_encoder() -> None:
    state = timm.create_model("samvit_base_patch16", num_classes=0).state_dict()
    spelled = {f"image_encoder.{k.replace('.mlp.fc', '.mlp.lin')}": v for k, v in state.items()}
    assert match(spelled).name == "samvit_base_patch16"


def test_no_spelling_takes_another_librarys_network() -> None:
    """Hugging Face's Swin has the same downsampling key, and segmentation_models_pytorch the same EfficientNet."""
    library = pytest.importorskip("segmentation_models_pytorch", reason="the oracle of this test")
    module = library.Unet("efficientnet-b0", encoder_weights=None, in_channels=1, classes=2)
    found = match(module.state_dict())
    assert (found.library, found.name) == ("smp", "Unet-efficientnet-b0")
    swin = {f"encoder.{anchor}": torch.zeros(1) for anchor in SPELLINGS[0].anchors[:1]}
    assert recognise(swin) is None
