"""Refusals of identification name what contradicts, and advise what has not just failed."""

from __future__ import annotations

import pytest
import torch
import torchvision
from networks import State, resnet
from torch import nn

from reid_audit.arch import match
from reid_audit.errors import ArchitectureError


def refusal(state: State, name: str | None = None) -> ArchitectureError:
    with pytest.raises(ArchitectureError) as caught:
        match(state, name=name)
    assert len(caught.value.lines()) == 3
    return caught.value


def deep(state: State) -> State:
    """Every kernel with a third dimension, as MedicalNet's ResNets have it."""
    return {k: v.unsqueeze(2).expand(-1, -1, v.shape[-1], -1, -1) if v.dim() == 4 else v for k, v in state.items()}


def test_a_network_for_volumes_is_called_one() -> None:
    error = refusal({f"module.{k}": v for k, v in deep(resnet().state_dict()).items()})
    assert error.what == "the state_dict is a network for volumes (3-D network)"
    assert "module.conv1.weight is a kernel of 64x3x7x7x7, one of 20" in error.closest
    assert "resnet18" in error.closest
    assert "conv1.weight is 64x3x7x7x7 instead of 64x3x7x7, 20 keys have another shape" in error.closest
    assert "volumes.md" in error.remedy


def test_unknown_networks_for_volumes_and_signals() -> None:
    volumes = nn.Sequential(nn.Conv3d(1, 4, 3), nn.Conv3d(4, 4, 3))
    signals = nn.Sequential(nn.Conv1d(12, 4, 7), nn.Conv1d(4, 4, 7))
    assert "3-D network" in refusal({f"enc.{k}": v for k, v in volumes.state_dict().items()}).what
    error = refusal({f"enc.{k}": v for k, v in signals.state_dict().items()})
    assert "1-D network" in error.what
    assert "enc.0.weight is a kernel of 4x12x7" in error.closest


def test_keys_with_another_shape_are_named_with_both_shapes() -> None:
    state = resnet().state_dict()
    state["layer3.0.conv2.weight"] = torch.zeros(256, 256, 5, 5)
    error = refusal(state)
    assert "resnet18 (torchvision): 101 of 102 keys" in error.closest
    assert "layer3.0.conv2.weight is 256x256x5x5 instead of 256x256x3x3; none missing" in error.closest
    assert "none unexpected" in error.closest


def test_missing_keys_are_counted() -> None:
    state = {k: v for k, v in resnet().state_dict().items() if not k.startswith("layer2.0.conv")}
    assert "first missing layer2.0.conv1.weight (of 2)" in refusal(state).closest


def test_the_option_that_failed_is_not_advised() -> None:
    for error in (refusal(deep(resnet().state_dict()), "resnet18"), refusal({"a.b": torch.zeros(3)}, "resnet18")):
        assert "--arch " not in error.remedy
    state = resnet().state_dict()
    error = refusal(state, "resnet34")
    assert error.what == "the keys are not those of resnet34"
    assert "first missing layer1.2.conv1.weight" in error.closest
    assert error.remedy == "leave --arch out: the keys are those of torchvision/resnet18"
    del state["layer2.0.conv1.weight"]
    assert "--arch-factory" in refusal(state, "resnet18").remedy
    assert "--arch " not in refusal(state, "resnet18").remedy
    assert "--arch " not in refusal(state).remedy


def test_a_family_whose_key_is_missing_names_the_key() -> None:
    module = torchvision.models.DenseNet(4, (1, 1, 1, 1), 8, num_classes=2)
    state = {
        k.replace("classifier.", "class_layers.out.").replace("denselayer1.", "denselayer1.layers."): v
        for k, v in module.state_dict().items()
    }
    del state["features.denseblock1.denselayer1.layers.conv2.weight"]
    error = refusal(state)
    assert "monai/DenseNet" in error.what
    assert "there is no key features.denseblock1.denselayer1.layers.conv2.weight" in error.closest
    assert "KeyError" not in error.closest


def test_a_family_that_the_keys_are_not_names_the_key_it_needs() -> None:
    error = refusal(resnet().state_dict(), "monai/SwinUNETR")
    assert error.what == "the keys are not those of monai/SwinUNETR"
    assert "no key is called swinViT.patch_embed.proj.weight" in error.closest
    assert error.remedy == "leave --arch out: the keys are those of torchvision/resnet18"


def test_a_head_alone_is_called_one() -> None:
    error = refusal(dict(nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 2)).state_dict()))
    assert error.what == "the file holds a head without the encoder whose features it takes"
    assert "0.weight takes 512 features" in error.closest
    assert "--base" in error.remedy
    assert "head without" not in refusal({"a.b": torch.zeros(3)}).what
