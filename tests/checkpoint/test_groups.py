"""Every network of a file is found, whatever holds it and whatever it is called; what is no network is not one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_base import parse, saved
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_audit.arch.index import shipped
from reid_audit.checkpoint import load_checkpoint
from reid_audit.checkpoint.groups import PARTS
from reid_audit.checkpoint.shapes import networklike
from reid_audit.checkpoint.unwrap import BANK, EMA_WRAPPERS, GRADIENTS, HIDDEN, OPTIMISER, WRAPPERS, shown
from reid_audit.errors import CheckpointError

State = dict[str, torch.Tensor]


def network(seed: int, *, width: int = 4) -> State:
    """Three convolutions and a classifier."""
    chance = torch.Generator().manual_seed(seed)
    shapes = {
        "stem": (width, 1, 3, 3),
        "body.0": (width, width, 3, 3),
        "body.1": (width, width, 3, 3),
        "fc": (2, width),
    }
    return {f"{name}.weight": torch.randn(shape, generator=chance) for name, shape in shapes.items()}


def nested(state: State) -> dict[str, Any]:
    """The same with a dictionary for every module, as Flax keeps it."""
    table: dict[str, Any] = {}
    for key, value in state.items():
        node = table
        *modules, leaf = key.split(".")
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = value
    return table


def moments(state: State) -> dict[str, Any]:
    return {
        "state": {
            i: {"step": torch.tensor(3.0), "exp_avg": v, "exp_avg_sq": v**2} for i, v in enumerate(state.values())
        },
        "param_groups": [{"lr": 0.1, "params": list(range(len(state)))}],
    }


A, B, C = network(0), network(1), network(2, width=5)
LAYOUTS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "folds": (lambda: {"fold_0": A, "fold_1": B}, ("fold_0", "fold_1")),
    "a list of models": (lambda: {"models": [A, B]}, ("models.0", "models.1")),
    "folds in a folder": (lambda: {"cv": {"fold_0": {"state_dict": A}, "fold_1": {"state_dict": B}}},
                          ("cv.fold_0.state_dict", "cv.fold_1.state_dict")),
    "an EMA copy": (lambda: {"state_dict": A, "state_dict_ema": B}, ("state_dict", "state_dict_ema")),
    "the best model": (lambda: {"best_model": B, "model": A}, ("model", "best_model")),
    "a GAN": (lambda: {"generator": A, "discriminator": C}, ("generator", "discriminator")),
    "teacher and student, in parts": (
        lambda: {side: {"backbone": net, "head": {"weight": net["fc.weight"]}}
                 for side, net in (("teacher", A), ("student", B))},
        ("teacher", "student"),
    ),
    "an EMA object of a callback": (
        lambda: {"state_dict": A, "callbacks": {"EMA": {"ema_state_dict": B}}},
        ("state_dict", "callbacks.EMA.ema_state_dict"),
    ),
    "an object of a listed class": (
        lambda: {"model": A, "keep": argparse.Namespace(weights=B)}, ("model", "keep.weights")
    ),
    "a dictionary for every layer": (lambda: {"model": A, "ema": {"params": nested(B)}}, ("model", "ema")),
    "weights averaged by the optimiser": (
        lambda: {"model": A, "optimizer": {"state": {i: {"exp_avg": v, "slow_buffer": v + 1} for i, v in
                                                     enumerate(A.values())}, "param_groups": []}},
        ("model", "optimizer"),
    ),
    "averages without names": (lambda: {"model": A, "ema": {"decay": 0.9, "shadow_params": list(B.values())}},
                               ("model", "ema.shadow_params")),
    "a network named as an optimiser": (lambda: {"model": A, "optimizer": B}, ("model", "optimizer")),
    "a network in the place of a state": (lambda: {"model": A, "optimizer": {"state": B, "param_groups": []}},
                                          ("model", "optimizer.state")),
    "named as moments": (lambda: {"model": A, "exp_avg": {"momentum_buffer": B}}, ("model", "exp_avg.momentum_buffer")),
    "one object twice": (lambda: {"last": A, "model": A}, ("model", "last")),
    "half precision": (lambda: {"model": A, "half": {k: v.half() for k, v in A.items()}}, ("model", "half")),
    "names of people": (lambda: {"model": A, "patient Anna": B, "1234567": C}, ("model", HIDDEN, f"{HIDDEN} 2")),
    "two small ones": (lambda: {"a": {"x.weight": torch.ones(2, 3), "y.weight": torch.ones(4, 2)},
                                "b": {"x.weight": torch.ones(2, 3), "y.weight": torch.ones(4, 2)}}, ("a", "b")),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_network_is_found(name: str, legacy: bool) -> None:
    make, wanted = LAYOUTS[name]
    layout = parse(saved(make(), legacy=legacy))
    assert (layout.name, *(other.name for other in layout.others)) == wanted
    assert all(len(other.entries) >= 2 and not other.refused for other in layout.others)
    assert layout.beside == ()


def test_parts_and_prefixes_side_by_side_are_one_group() -> None:
    """Whether it is one network or several is told by the keys, when networks are identified."""
    for document in (
        {"backbone": A, "head": {"weight": torch.ones(2, 4), "bias": torch.ones(2)}, "epoch": 3},
        {"encoder": A, "decoder": B},
        {"model": {"encoder": A, "decoder": B, "classifier": {"weight": torch.ones(2, 4)}}},
        {"module": nested(A)},
        nested(A),
        {"params": nested(A), "ema": nested(B)},
        {f"generator.{k}": v for k, v in A.items()} | {f"discriminator.{k}": v for k, v in B.items()},
    ):
        layout = parse(saved(document))
        assert layout.others == ()
        assert layout.beside == ()


NO_NETWORKS: dict[str, tuple[dict[str, Any], tuple[str, ...], str | None]] = {
    "Adam": ({"optimizer": moments(A)}, (), OPTIMISER),
    "Lightning's optimisers": ({"optimizer_states": [moments(A), moments(B)]}, (), OPTIMISER),
    "by parameter name": ({"optimizer": {"state": {k: {"exp_avg": v} for k, v in A.items()}, "param_groups": []}}, (),
                          OPTIMISER),
    "an optimiser nobody knows": ({"o": {"state": {i: {"m": v, "h": v} for i, v in enumerate(A.values())},
                                         "param_groups": []}}, (), None),
    "gradients": ({"last": {f"{k}.grad": v for k, v in A.items()}}, tuple(f"last.{k}.grad" for k in A), GRADIENTS),
    "moments beside the weights": ({"more": {f"{k}.exp_avg": v for k, v in A.items()}}, (), OPTIMISER),
    "a memory bank": ({"bank": {f"{i}.queue": torch.rand(8, 8) for i in range(6)}},
                      tuple(f"bank.{i}.queue" for i in range(6)), BANK),
    "a projection head": ({"projector": {f"{i}.weight": torch.rand(8, 8) for i in (0, 2)}},
                          ("projector.0.weight", "projector.2.weight"), None),
    "a loss and class weights": ({"loss": {"centers": torch.rand(3, 8)}, "class_weights": torch.rand(3)},
                                 ("class_weights", "loss.centers"), None),
    "counts and a best score": ({"n": torch.tensor(3), "c": {"best": torch.tensor(2)}}, (), None),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_NETWORKS)
def test_what_is_no_network_is_listed_by_name(name: str) -> None:
    beside, listed, finding = NO_NETWORKS[name]
    layout = parse(saved({"state_dict": A, **beside}))
    assert layout.others == ()
    assert set(layout.beside) == set(listed)
    assert finding is None or finding in layout.findings


def test_what_could_be_weights_is_said_from_logs_and_counts() -> None:
    beside = {
        "register_tokens": torch.rand(1, 4, 8), "lstm": {"weight_ih_l0": torch.rand(8, 4), "bias": torch.rand(8)},
        "mean": torch.rand(3), "confusion": torch.rand(2, 2).double(), "queue": torch.rand(8, 8),
    }  # fmt: skip
    layout = parse(saved({"state_dict": A, **beside}))
    assert set(layout.apart) == {"register_tokens", "lstm.weight_ih_l0"}
    assert set(layout.apart) < set(layout.beside)
    assert (
        parse(saved({"state_dict": {k: v.double() for k, v in A.items()}, **beside})).apart[-1] == "lstm.weight_ih_l0"
    )


def test_every_known_network_is_shaped_like_one() -> None:
    index = shipped()
    for entry in index.entries:
        body = {key: shape for key, (shape, _) in index.described(entry).items() if key not in entry.head}
        assert networklike(body), entry.name


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.full((4, 4, 3, 3), float("nan")), "NaN"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(2, 2, dtype=torch.complex64), "complex"),
    ],
)
def test_faults_of_another_network_are_said_and_do_not_refuse_the_file(tensor: torch.Tensor, why: str) -> None:
    layout = parse(saved({"model": A, "ema": B | {"stem.weight": tensor}}))
    (other,) = layout.others
    assert why in other.refused
    assert other.entries == ()


def test_all_networks_together_may_not_unpack_to_more_than_the_file_explains() -> None:
    wide = torch.ones(1).expand(2**21)
    document = {f"fold_{i}": {**network(i), "wide": wide} for i in range(4)}
    with pytest.raises(CheckpointError, match="unpack"):
        parse(saved(document))


def test_a_file_that_cannot_be_looked_through_is_refused() -> None:
    deep: dict[str, Any] = {"state_dict": B}
    for _ in range(150):
        deep = {"x": deep}
    with pytest.raises(CheckpointError, match="nested"):
        parse(saved({"state_dict": A, "more": deep}))
    with pytest.raises(CheckpointError, match="read alike"):
        parse(saved({"state_dict": A, 0: A, "0": B}))
    ring: dict[str, Any] = {"model": A, "ema": B}
    ring["self"] = ring
    assert [other.name for other in parse(saved(ring)).others] == ["ema"]


def test_names_that_collide_are_kept_apart() -> None:
    document = {"model": A, "a": {"b.c": {"w": torch.rand(2, 2)}, "b": {"c": {"w": torch.rand(2, 2)}}}}
    assert len(parse(saved(document)).beside) == 2


def test_shown_names_hide_people_and_numbers() -> None:
    assert shown(("fold_0", "models.1", "layer4")) == "fold_0.models.1.layer4"
    for hidden in ("Anna Meier", "patient7", "19991231", "a/b", "id_20240101", "é", "1234"):
        assert shown((hidden,)) == HIDDEN


def test_the_tensors_of_every_network_are_read(tmp_path: Path) -> None:
    torch.save({"fold_0": A, "fold_1": {f"module.{k}": v for k, v in B.items()}, "x": torch.ones(3)}, tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    assert [weights.name for weights in found.networks] == ["fold_0", "fold_1"]
    assert found.networks[0].tensors is found.tensors
    assert all(torch.equal(found.others[0].tensors[key], value) for key, value in B.items())
    assert found.summary.others == ("fold_1",)
    assert found.summary.beside == ("x",)


@settings(max_examples=60, deadline=None)
@given(
    wrappers=st.lists(
        st.sampled_from([*WRAPPERS, *EMA_WRAPPERS, *sorted(PARTS), "optimizer", "state", "exp_avg", "grad", "fold_1"]),
        min_size=1, max_size=4,
    ),
    prefix=st.sampled_from(["", "module.", "ema.", "optimizer.", "exp_avg."]),
)  # fmt: skip
def test_no_name_hides_a_network(wrappers: list[str], prefix: str) -> None:
    hidden: Any = {prefix + key: value for key, value in B.items()}
    for name in reversed(wrappers):
        hidden = {name: hidden}
    layout = parse(saved({"first": A, **hidden}))
    stored = {entry.start for entry in layout.every}
    assert len(stored) == len(A) + len(B)
