"""``reid-audit inspect``: everything the page promises is on the screen and in the JSON document."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from reid_audit.arch.beside import config_beside
from reid_audit.cli import main
from reid_audit.errors import ArchitectureError


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.resnet18(num_classes=2).state_dict()
    return {key: value + 0.1 if key.endswith("running_mean") else value for key, value in state.items()}


def inspected(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["inspect", str(path), *options])


def lines(result: Result) -> dict[str, list[str]]:
    """{name: texts} of the screen."""
    table: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        table.setdefault(line[:16].strip(), []).append(line[17:])
    return table


def test_everything_the_page_promises(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.ckpt"
    document = {
        "state_dict": {f"model.{k}": v for k, v in weights.items()},
        "model_ema": dict(weights),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
        "hyper_parameters": {"root": "/home/somebody/films", "note": "patient list"},
    }
    torch.save(document, path)
    shown = lines(inspected(path, "--side", "32"))
    assert shown["file"][0].startswith(f"torch-zip, {path.stat().st_size:,} bytes, 122 tensors")
    assert shown["sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert shown["found in"] == ["state_dict"]
    assert "float32 x 102" in shown["parameters"][0]
    assert "int64 x 20" in shown["parameters"][0]
    assert shown["architecture"][0].startswith("torchvision resnet18, 100.0% of the keys, found by keys")
    assert "timm/resnet18" in shown["same by shape"][0]
    assert "--arch NAME decides" in shown["same by shape"][0]
    assert shown["head"][0] == "softmax, 2 outputs; input 3 x 32 px (policy)"
    assert shown["normalisation"] == ["20 BatchNorm2d, with statistics of the training data"]
    assert "9,600 stored values over 1,024 pixels" in shown["data statistics"][0]
    assert "as many as 9.4 films" in shown["data statistics"][0]
    findings = " ".join(shown["finding"])
    assert "optimiser state is in the file" in findings
    assert "an EMA copy of the weights" in findings
    assert "looks like names of people, files or folders (not shown)" in findings
    assert "somebody" not in findings


def test_the_json_document(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in weights.items()}, path)
    seen: dict[str, Any] = json.loads(inspected(path, "--json", "--side", "32").stdout)
    assert seen["checkpoint"]["format"] == "safetensors"
    assert ["float16", 102] in seen["checkpoint"]["dtypes"]
    assert any("rounded" in finding for finding in seen["checkpoint"]["findings"])
    assert seen["architecture"]["name"] == "resnet18"
    assert "timm/resnet18" in seen["same_by_shape"]
    assert seen["carries_data_statistics"] is True
    assert seen["capacity"] == {
        "statistics": 9600, "pixels": 1024, "patients": 9.38, "strong_up_to": 7.81, "detectable_up_to": 62.5,
    }  # fmt: skip
    assert seen["refusal"] is None


def test_a_transformer_carries_no_statistics(tmp_path: Path) -> None:
    path = tmp_path / "vit.pt"
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=64).state_dict(), path)
    shown = lines(inspected(path))
    assert shown["normalisation"] == ["25 LayerNorm, without statistics of the data"]
    assert shown["data statistics"][0].startswith("none stored")
    assert any("input side 64" in line for line in shown["evidence"])


def test_an_unknown_network_is_still_described(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "odd.pt"
    torch.save({k: v for k, v in weights.items() if k != "layer2.0.conv1.weight"}, path)
    result = inspected(path)
    assert isinstance(result.exception, ArchitectureError)
    assert result.exception.exit_code == 3
    assert "sha256" in lines(result)
    assert "architecture" not in lines(result)
    seen = json.loads(inspected(path, "--json").stdout)
    assert seen["architecture"] is None
    assert "first missing layer2.0.conv1.weight" in seen["refusal"]["closest"]


def test_every_network_is_listed(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "folds.pt"
    never = {k: torch.zeros_like(v) if k.endswith("running_mean") else v for k, v in weights.items()}
    odd = {f"x.{i}.weight": torch.rand(4, 4, 3, 3) for i in range(3)}
    torch.save({"model": weights, "ema": weights, "fold_1": never, "odd": odd, "age": {"w": torch.rand(3, 8)}}, path)
    shown = lines(inspected(path, "--side", "32"))
    assert shown["network"] == ["1 of 3: model", "2 of 3: fold_1", "3 of 3: odd"]
    assert shown["the same weights"] == ["ema: identical"]
    assert "9,600 stored values were never updated (0 and 1)" in shown["normalisation"][1]
    assert shown["architecture"][2].startswith("not known")
    assert shown["in no network"] == ["1 tensors: age.w"]
    seen = json.loads(inspected(path, "--json").stdout)
    assert [network["name"] for network in seen["networks"]] == ["model", "fold_1", "odd"]
    assert seen["networks"][1]["architecture"]["untouched_statistics"] == 9600
    assert seen["networks"][2]["architecture"] is None


@pytest.mark.parametrize(
    ("extra", "wording"),
    [
        ({"queue": torch.rand(4, 8)}, "a memory bank is in the file"),
        ({"encoder_k.conv1.weight": torch.rand(4, 3, 3, 3)}, "an EMA copy of the weights is in the file"),
        ({"optimizer.0.exp_avg": torch.rand(4)}, "optimiser state is in the file"),
    ],
)
def test_leaks_among_the_keys(
    tmp_path: Path, weights: dict[str, torch.Tensor], extra: dict[str, torch.Tensor], wording: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({f"encoder_q.{k}": v.clone() for k, v in weights.items()} | extra, path)
    assert any(wording in line for line in lines(inspected(path))["finding"])


def test_config_beside(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert config_beside(path) == {}
    beside = tmp_path / "config.json"
    for content in ("[1]", "{", '{"name": "mine"}', "[" * 100_000, '{"model_type": "' + "x" * 1_000_001 + '"}'):
        beside.write_text(content)
        assert config_beside(path) == {}
    beside.write_text('{"model_type": "vit", "num_attention_heads": 3}')
    assert config_beside(path)["num_attention_heads"] == 3


def test_ones_own_constructor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())\n"
    )
    (tmp_path / "house_network.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.safetensors"
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    network(torch.rand(2, 1, 8, 8))
    save_file(network.state_dict(), path)
    found = inspected(path, "--arch-factory", "house_network:net", "--side", "16", "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["architecture"]["by"] == "factory"
    assert document["capacity"]["statistics"] == 8
