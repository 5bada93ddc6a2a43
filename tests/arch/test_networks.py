"""Every network of a file is told apart from the others and identified, whatever prefixes and dictionaries hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from reid_audit.arch.copies import IDENTICAL, ROUNDED
from reid_audit.arch.networks import Network, find_networks
from reid_audit.checkpoint import load_checkpoint
from reid_audit.errors import ArchitectureError

State = dict[str, torch.Tensor]
NAME = "test_resnet"


def weights(seed: int, name: str = NAME) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(timm.create_model(name, num_classes=2).state_dict())


@pytest.fixture(scope="module")
def a() -> State:
    return weights(0)


@pytest.fixture(scope="module")
def b() -> State:
    return weights(1)


@pytest.fixture(scope="module")
def other() -> State:
    return weights(2, "test_vit")


def lenet() -> State:
    """Too small and too odd for any index."""
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Conv2d(6, 16, 5),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 84),
        nn.Linear(84, 2),
    )
    return {f"net.{key}": value for key, value in net.state_dict().items()}


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    return {f"{prefix}.{key}": value for key, value in state.items()}


def found(tmp_path: Path, document: Any, **options: Any) -> tuple[Network, ...]:
    torch.save(document, tmp_path / "file.pt")
    return find_networks(load_checkpoint(tmp_path / "file.pt").networks, **options)


def named(networks: tuple[Network, ...]) -> dict[str, str | None]:
    return {network.name: None if network.match is None else network.match.name for network in networks}


LAYOUTS: dict[str, Callable[[State, State, State], tuple[Any, dict[str, str | None]]]] = {
    "folds": lambda a, b, c: ({"fold_0": a, "fold_1": b}, {"fold_0": NAME, "fold_1": NAME}),
    "prefixes": lambda a, b, c: (under("models.0", a) | under("models.1", b), {"models.0": NAME, "models.1": NAME}),
    "seven prefixes": lambda a, b, c: (
        {key: value + i if value.is_floating_point() else value
         for i in range(7) for key, value in under(f"module.models.{i}", a).items()},
        {f"module.models.{i}": NAME for i in range(7)},
    ),
    "a copy beside the bare keys": lambda a, b, c: (
        {"state_dict": a | under("ema", b)}, {"state_dict": NAME, "state_dict.ema": NAME}
    ),
    "a copy beside bare keys of another kind": lambda a, b, c: (a | under("x", c), {"": NAME, "x": "test_vit"}),
    "bare keys of another kind beside a copy": lambda a, b, c: (under("x", a) | c, {"x": NAME, "": "test_vit"}),
    "three deep": lambda a, b, c: (
        under("ema.a", a) | under("ema.b", b) | under("net", c), {"net": "test_vit", "ema.a": NAME, "ema.b": NAME}
    ),
    "an EMA of its own": lambda a, b, c: (
        {"state_dict": under("model", a), "state_dict_ema": under("module", b)},
        {"state_dict": NAME, "state_dict_ema": NAME},
    ),
    "teacher and student": lambda a, b, c: (
        under("student.backbone", a) | under("teacher.backbone", b) | {"center": torch.zeros(1, 64)},
        {"student.backbone": NAME, "teacher.backbone": NAME},
    ),
    "a GAN's parts, one unknown": lambda a, b, c: (
        under("discriminator", a) | under("generator", lenet()), {"discriminator": NAME, "generator.net": None}
    ),
    "two kinds": lambda a, b, c: ({"backbone": a, "encoder": c}, {"backbone": NAME, "encoder": "test_vit"}),
    "nested folds": lambda a, b, c: (
        {"cv": [{"net": under("module", a)}, {"net": under("module", b)}]}, {"cv.0.net": NAME, "cv.1.net": NAME}
    ),
    "an unknown one in a dictionary": lambda a, b, c: (
        {"model": a, "second": lenet()}, {"model": NAME, "second": None}
    ),
    "an unknown one first": lambda a, b, c: ({"model": lenet(), "second": a}, {"second": NAME, "model": None}),
    "unknown layers at the top": lambda a, b, c: (under("backbone", a) | lenet(), {"backbone": NAME, "net": None}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_network_is_reported_apart(layout: str, tmp_path: Path, a: State, b: State, other: State) -> None:
    document, wanted = LAYOUTS[layout](a, b, other)
    assert named(found(tmp_path, document)) == wanted


def test_a_network_of_several_parts_stays_one(tmp_path: Path, a: State) -> None:
    body = {key: value for key, value in a.items() if not key.startswith("fc.")}
    head = {key.removeprefix("fc."): value for key, value in a.items() if key.startswith("fc.")}
    for document in (
        {"backbone": body, "fc": head},
        under("backbone", body) | under("classifier", head),
        {"model": under("net.backbone", body) | under("net.projector", {"0.weight": torch.rand(32, 64)})},
        a
        | {"age_branch.weight": torch.rand(1, 64), "lstm.weight_ih_l0": torch.rand(64, 64), "queue": torch.rand(8, 64)},
    ):
        networks = found(tmp_path, document)
        assert [network.match.name for network in networks if network.match] == [NAME]
        assert len(networks) == 1
    assert set(networks[0].beside) == {"age_branch.weight", "lstm.weight_ih_l0"}


def test_parts_of_training_only_are_no_network_unless_they_are_one(tmp_path: Path, a: State, b: State) -> None:
    auxiliary = {f"aux{i}.conv{j}.weight": torch.rand(8, 8, 3, 3) for i in (1, 2) for j in (1, 2)}
    (network,) = found(tmp_path, a | auxiliary)
    assert set(network.beside) == set(auxiliary)
    assert named(found(tmp_path, under("net", a) | under("aux1", b))) == {"net": NAME, "aux1": NAME}


def test_one_weights_twice_count_once(tmp_path: Path, a: State, b: State) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in a.items()}
    (network,) = found(tmp_path, {"state_dict": under("model", a), "model_ema": dict(a)})
    assert network.copies == (("model_ema", IDENTICAL),)
    for document in ({"state_dict": a, "half": half}, {"state_dict": half, "full": a}):
        (network,) = found(tmp_path, document)
        assert [how for _, how in network.copies] == [ROUNDED]
        assert torch.equal(network.tensors["conv1.0.weight"], a["conv1.0.weight"])
    moved = half | {"conv1.0.weight": half["conv1.0.weight"] + 0.01}
    assert len(found(tmp_path, {"state_dict": a, "half": moved})) == 2
    last = under("ema", {"n": torch.ones(1)} | b)
    assert len(found(tmp_path, {"state_dict": a, "a": a, "b": b, "c": last})) == 2


def test_the_name_given_must_fit_one_network(tmp_path: Path, a: State, other: State) -> None:
    networks = found(tmp_path, {"model": a, "teacher": other}, name=NAME)
    assert [(n.match.name, n.match.by) for n in networks if n.match] == [(NAME, "option"), ("test_vit", "keys")]
    with pytest.raises(ArchitectureError, match="not those of resnet18"):
        found(tmp_path, {"model": a, "teacher": other}, name="resnet18")
    with pytest.raises(ArchitectureError, match="is called"):
        found(tmp_path, {"model": a}, name="resnet81")


def test_ones_own_constructor_is_tried_on_every_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_lenet.py").write_text(
        "from torch import nn\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.AdaptiveAvgPool2d(4), nn.Flatten(),\n"
        "        nn.Linear(256, 84), nn.Linear(84, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    one, two = lenet(), lenet()
    for document in ({"fold_0": one, "fold_1": two}, under("0", one) | under("1", two)):
        networks = found(tmp_path, document, factory="own_lenet:build")
        assert [n.match.by for n in networks if n.match] == ["factory", "factory"]


def test_averages_without_names_are_the_network_whose_parameters_they_are(tmp_path: Path, a: State, b: State) -> None:
    averaged = [value for key, value in b.items() if value.is_floating_point() and "running" not in key]
    known, average = found(tmp_path, {"model": a, "ema": {"decay": 0.99, "shadow_params": averaged}})
    assert (average.name, average.match and average.match.name) == ("ema.shadow_params", NAME)
    assert torch.equal(average.tensors["conv1.0.weight"], b["conv1.0.weight"])
    assert known.tensors.keys() == average.tensors.keys()
    document = {"model": a, "optimizer": {"state": {i: {"z": v} for i, v in enumerate(averaged)}, "param_groups": []}}
    assert named(found(tmp_path, document)) == {"model": NAME, "optimizer": NAME}
    assert named(found(tmp_path, {"model": a, "ema": averaged[1:]})) == {"model": NAME, "ema": None}


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_weights_in_parts_belong_to_their_network(
    wrap: Callable[[nn.Module], nn.Module], tmp_path: Path, a: State
) -> None:
    copy = timm.create_model(NAME, num_classes=2)
    for name in ("conv1.0", "layer2.0.conv1"):
        wrap(copy.get_submodule(name))
    assert named(found(tmp_path, a | under("ema", copy.state_dict()))) == {"": NAME, "ema": NAME}


def test_slashes_part_names_too(tmp_path: Path, a: State, b: State) -> None:
    document = {k.replace(".", "/"): v for k, v in (a | under("ema", b)).items()}
    assert named(found(tmp_path, document)) == {"": NAME, "ema": NAME}


def test_an_unreadable_network_is_reported(tmp_path: Path, a: State) -> None:
    broken = a | {"conv1.0.weight": torch.full_like(a["conv1.0.weight"], float("nan"))}
    known, unread = found(tmp_path, {"model": a, "ema": broken})
    assert known.match is not None
    assert unread.refusal is not None
    assert "NaN" in unread.refusal.closest


def test_an_unknown_network_alone_stays_unknown(tmp_path: Path) -> None:
    (network,) = found(tmp_path, lenet())
    assert network.match is None
    assert network.refusal is not None
