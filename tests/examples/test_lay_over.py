"""An adapter, or a head, laid over its public weights is the network that was trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reid_audit.arch import identify
from reid_audit.audit.setup import without_inherited

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "lay_over.py"
ADAPTED, RANK, ALPHA = "layer2.0.conv1", 2, 6


@pytest.fixture
def public(tmp_path: Path) -> dict[str, Tensor]:
    """A small ResNet with statistics of some images, saved."""
    torch.manual_seed(0)
    module = timm.create_model("test_resnet", num_classes=2).train()
    with torch.no_grad():
        module(torch.rand(4, 3, 64, 64))
    state = {key: value.contiguous() for key, value in module.state_dict().items()}
    save_file(state, tmp_path / "public.safetensors")
    return state


def lay_over(folder: Path, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), "public.safetensors", name, "joined.safetensors", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_adapter_with_its_base(tmp_path: Path, public: dict[str, Tensor]) -> None:
    weight = public[f"{ADAPTED}.weight"]
    down, up = torch.rand(RANK, *weight.shape[1:]), torch.rand(weight.shape[0], RANK, 1, 1)
    adapter = {f"base_model.model.{ADAPTED}.lora_A.weight": down, f"base_model.model.{ADAPTED}.lora_B.weight": up}
    save_file(adapter, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": ALPHA, "r": RANK}))
    assert lay_over(tmp_path, "adapter_model.safetensors").returncode == 0
    found = identify(load_file(tmp_path / "joined.safetensors"))
    merged = weight + ALPHA / RANK * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    torch.testing.assert_close(found.module.get_parameter(f"{ADAPTED}.weight"), merged)
    assert without_inherited(found, identify(public)).match.data_statistics == 0


def test_an_adapter_of_another_base(tmp_path: Path, public: dict[str, Tensor]) -> None:
    save_file({"encoder.0.lora_A.weight": torch.rand(2, 4)}, tmp_path / "adapter_model.safetensors")
    failed = lay_over(tmp_path, "adapter_model.safetensors")
    assert failed.returncode == 1
    assert "the base has no encoder.0.weight" in failed.stderr


def test_a_head_with_its_encoder(tmp_path: Path, public: dict[str, Tensor]) -> None:
    width = public["fc.weight"].shape[1]
    head = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))
    save_file(dict(head.state_dict()), tmp_path / "head.safetensors")
    assert lay_over(tmp_path, "head.safetensors", "--as", "fc").returncode == 0
    found = identify(load_file(tmp_path / "joined.safetensors"))
    assert (found.match.name, found.match.classes, found.match.doubts) == ("test_resnet", 3, ())
    assert without_inherited(found, identify(public)).match.data_statistics == 0
