"""Round trips: build, change as people change networks, identify, run, same output."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from networks import State, images_for, resnet, run, same_network, small_entries
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from reid_audit.arch import identify, match
from reid_audit.arch.catalogue import Build, construct
from reid_audit.arch.index import Entry, pack, shipped, unpack
from reid_audit.errors import ArchitectureError

SAMPLE = small_entries(15)


@pytest.mark.parametrize("entry", SAMPLE, ids=lambda e: f"{e.library}-{e.name}")
def test_round_trip_in_two_formats(entry: Entry) -> None:
    module = construct(Build(entry.library, entry.name, classes=3))
    state = module.state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    for loaded in (
        torch.load(buffer, weights_only=True),
        load_safetensors(save_safetensors({k: v.contiguous().clone() for k, v in state.items()})),
    ):
        assert same_network(loaded, entry)
    target = identify(state, name=f"{entry.library}/{entry.name}")
    images = images_for(3, entry.side)
    torch.testing.assert_close(run(target.module, images), run(module, images))
    assert target.match.by == "option"
    assert not any(p.requires_grad for p in target.module.parameters())


def other_classes(state: State, entry: Entry) -> State:
    return {k: v[:2].clone() if k in entry.head else v for k, v in state.items()}


def grey(state: State, entry: Entry) -> State:
    return {k: v[:, : max(1, v.shape[1] // 3)] if k in entry.stem else v for k, v in state.items()}


def shuffled(state: State, entry: Entry) -> State:
    keys = list(state)
    random.Random(0).shuffle(keys)
    return {k: state[k] for k in keys}


TOLERANCES: dict[str, Callable[[State, Entry], State]] = {
    "any prefix": lambda s, e: {f"a.b.c.{k}": v for k, v in s.items()},
    "ddp": lambda s, e: {f"module.{k}": v for k, v in s.items()},
    "compiled": lambda s, e: {f"_orig_mod.{k}": v for k, v in s.items()},
    "ema beside": lambda s, e: {f"{p}.{k}": v for p in ("model", "ema_model") for k, v in s.items()},
    "extra keys": lambda s, e: {**{f"net.{k}": v for k, v in s.items()}, "criterion.weight": torch.ones(3)},
    "classes": other_classes,
    "grey": grey,
    "no head": lambda s, e: {k: v for k, v in s.items() if k not in e.head},
    "no counters": lambda s, e: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    "shuffled": shuffled,
    "half": lambda s, e: {k: v.half() for k, v in s.items()},
}


@pytest.mark.parametrize("change", TOLERANCES.values(), ids=list(TOLERANCES))
def test_tolerances(change: Callable[[State, Entry], State]) -> None:
    index = shipped()
    for entry in SAMPLE:
        state = {k: torch.zeros(shape) for k, (shape, _) in index.described(entry).items()}
        state["bookkeeping.num_batches_tracked"] = torch.tensor(3)
        changed = change(state, entry)
        if change is TOLERANCES["ema beside"]:
            assert match(changed).name
        else:
            assert same_network(changed, entry), entry.name


HEADS: dict[str, tuple[nn.Module, int, str]] = {
    "identity": (nn.Identity(), 0, "features"),
    "one output": (nn.Linear(512, 1), 1, "sigmoid"),
    "dropout": (nn.Sequential(nn.Dropout(), nn.Linear(512, 5)), 5, "softmax"),
    "no bias": (nn.Linear(512, 4, bias=False), 4, "softmax"),
    "mlp": (nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3)), 3, "softmax"),
    "norm": (nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 3)), 3, "softmax"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_replaced_heads_run(kind: str) -> None:
    head, classes, meaning = HEADS[kind]
    module = resnet(fc=head)
    target = identify(module.state_dict())
    assert (target.match.name, target.match.classes, target.match.head) == ("resnet18", classes, meaning)
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_small_input_stem_states_its_assumption() -> None:
    module = resnet(conv1=nn.Conv2d(1, 64, 3, 1, 1, bias=False), maxpool=nn.Identity())
    target = identify(module.state_dict(), side=32)
    assert (target.match.channels, target.match.side, target.match.side_by) == (1, 32, "policy")
    assert any("stride and pooling are assumed" in line for line in target.match.evidence)
    images = images_for(1, 32)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_position_embeddings_give_the_side() -> None:
    module = torchvision.models.vit_b_16(image_size=64, num_classes=2)
    target = identify(module.state_dict())
    assert (target.match.side, target.match.side_by) == (64, "weights")
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_torchxrayvision_densenet() -> None:
    module = torchvision.models.densenet121(num_classes=18)
    module.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    target = identify({**module.state_dict(), "op_threshs": torch.rand(18)})
    found = target.match
    assert (found.library, found.name, found.head, found.channels) == ("torchxrayvision", "densenet121", "sigmoid", 1)
    images = images_for(1, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_a_stripped_common_module_is_put_back() -> None:
    module = torchvision.models.densenet121()
    module.classifier = nn.Identity()
    state = {k.removeprefix("features."): v for k, v in module.state_dict().items()}
    assert match(state).name == "densenet121"


def test_a_network_that_loads_only_states_of_a_known_version() -> None:
    """As safetensors holds it, and as many files of PyTorch do: without the versions of its modules."""
    module = torchvision.models.mnasnet0_5(num_classes=2)
    target = identify(dict(module.state_dict()))
    assert target.match.name == "mnasnet0_5"
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


@pytest.mark.parametrize("spectral", [False, True])
def test_reparametrised_weights_are_folded(spectral: bool) -> None:
    module = resnet()
    wrap = nn.utils.parametrizations.weight_norm if not spectral else nn.utils.spectral_norm
    wrap(module.get_submodule("layer1.0.conv1"))
    wrap(module.get_submodule("layer3.1.conv2"))
    if spectral:
        module.eval()
    target = identify(module.state_dict())
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images), atol=1e-4, rtol=1e-3)


def test_evidence_of_a_plain_network() -> None:
    state = resnet().state_dict()
    untouched = match(state)
    assert (untouched.data_statistics, untouched.untouched_statistics) == (0, 9600)
    state["bn1.running_mean"] = torch.ones(64)
    partly = match(state)
    assert (partly.data_statistics, partly.untouched_statistics) == (128, 9472)
    found = match({k: torch.ones_like(v) if k.endswith("running_mean") else v for k, v in state.items()})
    assert (found.data_statistics, found.untouched_statistics) == (9600, 0)
    assert dict(found.normalisation) == {"BatchNorm2d": 20}
    assert (found.coverage, found.missing_keys, found.unexpected_keys) == (1.0, 0, 0)
    assert (found.library, found.family) == ("torchvision", "resnet")
    assert any(c.library == "timm" and c.name == "resnet18" and c.coverage == 1.0 for c in found.candidates)


def test_identifying_leaves_the_global_random_state_alone() -> None:
    state = resnet().state_dict()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    identify(state)
    assert torch.equal(before, torch.get_rng_state())


def test_a_deeper_network_is_not_its_shallow_part() -> None:
    state = torchvision.models.resnet34().state_dict()
    state |= {k.replace("layer3.5", "layer3.6"): v for k, v in state.items() if k.startswith("layer3.5")}
    with pytest.raises(ArchitectureError) as caught:
        match(state)
    assert "resnet34" in caught.value.closest
    assert "layer3.6.conv1.weight" in caught.value.closest


def test_refusals_name_the_closest() -> None:
    state = resnet().state_dict()
    del state["layer2.0.conv1.weight"]
    with pytest.raises(ArchitectureError, match="no known architecture") as caught:
        match(state)
    assert "first missing layer2.0.conv1.weight" in caught.value.closest
    assert len(caught.value.lines()) == 3
    with pytest.raises(ArchitectureError) as caught:
        match(resnet().state_dict(), name="resnet81")
    assert "resnet18" in caught.value.closest
    with pytest.raises(ArchitectureError):
        match({"w": torch.ones(2)})
    with pytest.raises(ArchitectureError):
        match({"w": torch.arange(2)})


FACTORY = """
from torch import nn
def net(num_classes, in_channels=3):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
def nothing():
    return 3
def broken():
    raise RuntimeError("no")
"""


def test_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_model.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    state = {f"module.{k}": v for k, v in module.state_dict().items()}
    target = identify(state, factory="their_model:net", side=16)
    assert (target.match.by, target.match.classes, target.match.channels) == ("factory", 5, 1)
    torch.testing.assert_close(run(target.module, images_for(1, 16)), run(module, images_for(1, 16)))
    for wrong in ("their_model:nothing", "their_model:broken", "their_model:missing", "no_such:f", "their_model"):
        with pytest.raises(ArchitectureError):
            identify(state, factory=wrong)
    with pytest.raises(ArchitectureError, match="does not fit"):
        identify({**state, "module.9.weight": torch.ones(2)}, factory="their_model:net")


def test_index_round_trip() -> None:
    rows = [
        {
            "library": "timm", "name": name, "family": "f", "side": 32, "head": ["fc.weight"], "stem": ["a.w"],
            "segmentation": False, "normalisation": {"BatchNorm2d": 1},
            "shapes": {"a.w": (4, 3, 1, 1), f"a.{name}": (4,), "fc.weight": (2, 4)},
        }
        for name in ("one", "two")
    ]  # fmt: skip
    index = unpack(pack(rows, {"timm": "1"}))
    assert [entry.common for entry in index.entries] == ["a", "a"]
    assert {k: s for k, (s, _) in index.described(index.entries[1]).items()} == rows[1]["shapes"]
    scores = index.score({"a.w": (4, 1, 1, 1), "a.two": (4,)})
    assert scores.body.tolist() == [1, 2]
    assert scores.exact.tolist() == [0, 1]
