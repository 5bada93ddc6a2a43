"""Pickles that name classes: read without importing or calling any, or refused where the policy says so."""

from __future__ import annotations

import argparse
import functools
import logging
import random
import re
import sys
import typing
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
import torch
from corpus_base import parse, saved
from foreign import FRAMEWORKS, bare, importable
from test_load import STATE, Read, read, same
from torch import nn

from reid_audit.checkpoint import load_checkpoint, screen
from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.unwrap import PERSONAL
from reid_audit.errors import CheckpointError, UnsafeCheckpointError


def code_of(found: Read) -> set[str]:
    return {name.replace("__builtin__", "builtins") for name in found.layout.code}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_frameworks_checkpoint_is_read_and_nothing_of_it_is_touched(name: str, legacy: bool) -> None:
    names, make = FRAMEWORKS[name]
    with importable(*names) as made:
        data = saved(make(dict(STATE), made), legacy=legacy)
        foreign.touched.clear()
        before = set(sys.modules)
        found = read(data)
        assert foreign.touched == []
        assert {module.partition(".")[0] for module in set(sys.modules) - before} <= {"reid_audit", "picklescan"}
    assert same(found)
    said = " ".join(found.findings)
    assert all(full.rpartition(".")[2] in said or f"{full.split('.')[0]}." in said for full in names)


def test_a_policy_can_refuse_them() -> None:
    for names, make in FRAMEWORKS.values():
        with importable(*names) as made:
            data = saved(make(dict(STATE), made))
        with pytest.raises(UnsafeCheckpointError) as caught:
            parse(data, "refuse")
        assert caught.value.exit_code == 5
        assert 'pickled_code = "refuse"' in caught.value.closest


def test_listed_data_is_read_under_either_policy() -> None:
    for pickled_code in ("refuse", "warn"):
        layout = parse(saved({"state_dict": STATE, "args": argparse.Namespace(a=1)}), pickled_code)
        assert layout.code == ()
        assert "replaced by an inert placeholder: argparse.Namespace" in layout.findings


class Net(nn.Module):
    """A network of a project: parameters, buffers of both kinds, layers inside layers, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.again = self.body[0]
        self.bare = nn.Linear(2, 2, bias=False)


def networks() -> dict[str, Any]:
    import torchvision

    net = Net()
    return {
        "a project's": net,
        "in DataParallel": nn.DataParallel(net),
        "under a key": {"model": net, "epoch": 3},
        "torchvision's": torchvision.models.mobilenet_v3_small(num_classes=2),
        "compiled by hand": nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.Sequential(nn.LayerNorm(3)))),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", networks())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pickled_network_gives_its_state_dict(name: str, legacy: bool) -> None:
    document = networks()[name]
    found = read(saved(document, legacy=legacy))
    wanted = (document["model"] if isinstance(document, dict) else document).state_dict()
    assert [key.removeprefix("module.") for key in wanted] == list(found.tensors)
    assert all(torch.equal(found.tensors[key.removeprefix("module.")], value) for key, value in wanted.items())
    assert code_of(found)
    with pytest.raises(UnsafeCheckpointError):
        parse(saved(document, legacy=legacy), "refuse")


def test_modules_that_hold_themselves_or_each_other_many_times_end() -> None:
    deep = nn.Module()
    for _ in range(40):
        above = nn.Module()
        above.a = above.b = deep
        deep = above
    looped = nn.Module()
    looped.w = nn.Parameter(torch.ones(2))
    looped.inner = nn.Module()
    looped.inner._modules["outer"] = looped
    assert list(read(saved({"net": looped})).tensors) == ["w"]
    with pytest.raises(CheckpointError, match="without tensors"):
        parse(saved({"net": deep}))


def test_a_learner_gives_its_network() -> None:
    with importable("fastai.learner.Learner", "fastai.callback.core.Callback") as made:
        learner = bare(made["Learner"], model=nn.Linear(2, 2), cbs=[bare(made["Callback"])], lr=0.1)
        found = read(saved(learner))
    assert list(found.tensors) == ["weight", "bias"]


def test_fastais_tensors_are_tensors() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    with importable("fastai.torch_core.TensorBase") as made:
        kind = made["TensorBase"]
        functions = {name: lambda *_: None for name in ("_fa_rebuild_tensor", "_rebuild_from_type")}
        for name, function in functions.items():
            function.__module__, function.__name__, function.__qualname__ = "fastai.torch_core", name, name
            setattr(sys.modules["fastai.torch_core"], name, function)
        storage = weight.untyped_storage()
        typed = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
            wrap_storage=storage, dtype=torch.float32, _internal=True
        )
        shape: Any = (typed, 0, (2, 3), (3, 1), False, OrderedDict())

        class Old:
            def __reduce__(self) -> Any:
                return functions["_fa_rebuild_tensor"], (kind, *shape, {})

        class New:
            def __reduce__(self) -> Any:
                return functions["_rebuild_from_type"], (torch._utils._rebuild_tensor_v2, kind, shape, {})

        found = read(saved({"model": {"old": Old(), "new": New()}, "opt": {}}))
    assert all(torch.equal(found.tensors[key], weight) for key in ("old", "new"))


def test_tensors_inside_objects_are_named() -> None:
    with importable("my_project.data.Films") as made:
        films = bare(made["Films"], images=[torch.ones(2, 2), np.ones((3, 3))], mean=torch.tensor(0.5))
        found = read(saved({"state_dict": STATE, "data": films}))
    assert {"data.images.0", "data.images.1"} <= set(found.layout.beside)


def test_names_are_grouped_and_cut() -> None:
    names = [f"package{i}.Name{i}of{j}" for i in range(12) for j in range(6)]
    with importable(*names) as made:
        found = read(saved({"state_dict": STATE, "x": list(made.values())}))
    said = [finding for finding in found.findings if finding.startswith("names code")]
    assert len(said) == 9
    assert "and 2 more" in said[0]
    assert said[-1] == "names code of 4 more packages"
    assert all(len(finding) <= 400 for finding in said)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_methods_nested_classes_and_partials_are_bound_to_placeholders(protocol: int) -> None:
    with importable("my_project.net.Net") as made:
        inner = type("Mode", (), {"__module__": "my_project.net", "__qualname__": "Net.Mode"})
        made["Net"].Mode = inner
        document = {
            "state_dict": STATE,
            "x": [inner(), inner, made["Net"].min, functools.partial(made["Net"], 3, a=2)],
        }
        found = read(saved_by(document, protocol))
    assert same(found)
    assert "my_project.net.Net" in {name.rpartition(".Mode")[0] or name for name in found.layout.code}


def saved_by(document: Any, protocol: int) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(document, buffer, pickle_protocol=protocol)
    return buffer.getvalue()


@pytest.mark.parametrize("pickled_code", ["refuse", "warn"])
def test_the_policys_word_reaches_the_reading_process(pickled_code: PickledCode, tmp_path: Path) -> None:
    with importable("my_project.config.Config") as made:
        (tmp_path / "a.pt").write_bytes(saved({"state_dict": STATE, "config": bare(made["Config"])}))
    if pickled_code == "refuse":
        for reading in (screen, load_checkpoint):
            with pytest.raises(UnsafeCheckpointError, match=r"my_project\.config\.Config"):
                reading(tmp_path / "a.pt", pickled_code=pickled_code)
        return
    found = load_checkpoint(tmp_path / "a.pt", pickled_code=pickled_code)
    assert found.summary.pickled_code == ("my_project.config.Config",)
    assert any("my_project.config.Config" in finding for finding in found.summary.findings)
    assert screen(tmp_path / "a.pt") == found.summary


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_hyper_parameters_hold_is_no_code_that_runs(protocol: int) -> None:
    harmless = [
        range(3), ..., int, str, max, torch.relu, torch.lt, nn.functional.gelu, nn.Linear.forward, re.compile("a"),
        logging.getLogger("a"), random.Random(1), list[int], typing.List[int], typing.Dict[str, typing.Any],  # noqa: UP006
        Sequence[int], np.float32, np.random.RandomState(1), np.random.default_rng(1), torch.optim.Adam,
    ]  # fmt: skip
    for value in harmless:
        assert same(read(saved_by({"state_dict": STATE, "hparams": {"x": value}}, protocol))), value


@pytest.mark.parametrize("legacy", [False, True])
def test_objects_that_are_dictionaries_are_read_as_such(legacy: bool) -> None:
    class Table(dict[str, Any]):
        """A dictionary whose items are its attributes."""

        folder: str

    Table.__module__, Table.__qualname__ = "easydict", "EasyDict"
    with importable("easydict.Other"):
        sys.modules["easydict"].EasyDict = Table  # type: ignore[attr-defined]
        inner = Table(model=Table(STATE), epoch=3)
        inner.folder = "/home/somebody/a.csv"
        for document in (inner, {"saved": inner}, Table(state_dict=OrderedDict(STATE))):
            found = read(saved(document, legacy=legacy))
            assert set(found.tensors) == set(STATE)
        assert PERSONAL in read(saved(inner, legacy=legacy)).findings


def test_tensors_of_other_devices_are_read() -> None:
    class Moved:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_device_tensor_from_numpy, (
                np.ones((2, 3), np.float32),
                torch.float32,
                "xla",
                False,
            )

    found = read(saved({"w": Moved(), "b": torch.ones(2)}))
    assert torch.equal(found.tensors["w"], torch.ones(2, 3))
