"""The information of answers, and the geometry that it prefers among those that the statistics allow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.network.heads import HeadKind
from reid_audit.network.information import GAIN, PLAUSIBLE, SMALL, Informed, information, surely_less
from reid_audit.records import ArchMatch, PreprocessSpec

SURE = 30.0


def classes(*counts: int) -> Tensor:
    """Sure answers, so many of each class."""
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    return SURE * torch.nn.functional.one_hot(labels, len(counts)).float()


@pytest.mark.parametrize(
    ("kind", "logits", "nats"),
    [
        ("softmax", classes(8, 8), math.log(2)),
        ("softmax", classes(4, 4, 4, 4), math.log(4)),
        ("softmax", classes(16, 0), 0.0),
        ("softmax", torch.zeros(16, 2), 0.0),
        ("sigmoid", SURE * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), 2 * math.log(2)),
        ("softmax", SURE * torch.tensor([[1.0], [-1.0]]), math.log(2)),
    ],
    ids=["two classes", "four classes", "one answer for all", "unsure", "two findings", "one output"],
)
def test_sure_answers_that_differ_tell_most(kind: HeadKind, logits: Tensor, nats: float) -> None:
    assert information(kind, logits) == pytest.approx(nats, abs=1e-6)


@pytest.mark.parametrize("kind", ["features", "regression", "segmentation"])
def test_what_is_no_answer_has_none(kind: HeadKind) -> None:
    assert information(kind, torch.randn(8, 2)) is None


def searched(nats_at: dict[int, float], misfits: dict[int, float], start: int, *, free: bool = True) -> int | None:
    """The side that is preferred where so many nats are told at each side; at others 0, and 1 misfits."""

    def asked(geometry: PreprocessSpec) -> Tensor:
        nats = nats_at.get(geometry.side or 0, 0.0) if geometry.resize == "squash" and geometry.crop == "none" else 0.0
        return nats / math.log(2) * classes(8, 8) if nats else classes(16, 0)

    match = ArchMatch(library="none", family="none", name="none", coverage=1.0, head="softmax", classes=2)
    search = Informed(asked, lambda way: misfits.get(way.side or 0, 1.0), Target(nn.Identity(), match), free)
    tried = [PreprocessSpec(side=side) for side in sorted(misfits, key=misfits.__getitem__)]
    found = search.best(PreprocessSpec(side=start), tried)
    return None if found is None else found.side


NEAR = {40: 0.020, 64: 0.021, 128: 0.022}


def test_among_geometries_that_fit_alike_the_answers_decide() -> None:
    assert searched({40: 0.0, 64: 1.0}, NEAR, 40) == 64


def test_a_geometry_beside_the_best_is_found_though_it_was_not_tried() -> None:
    assert searched({64: 0.5, 72: 1.0}, NEAR | {72: 0.023}, 40) == 72


def test_what_the_statistics_forbid_is_not_asked() -> None:
    assert searched({40: 0.1, 64: 1.0}, {40: 0.010, 64: 0.010 * PLAUSIBLE + 0.001}, 40) is None


def test_a_misfit_that_is_small_in_itself_is_asked_however_much_smaller_the_best_is() -> None:
    assert searched({40: 0.1, 64: 1.0}, {40: 0.0001, 64: SMALL}, 40) == 64


def test_a_little_more_is_no_reason() -> None:
    same = information("softmax", classes(8, 8)) or 0.0
    assert same > GAIN
    assert searched({40: 1.0, 64: 1.0}, NEAR, 40) is None


def test_what_a_few_films_say_by_chance_is_no_reason() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(400, 2, generator=generator) for _ in range(2))
    assert not surely_less("softmax", ours, theirs)
    assert not surely_less("softmax", ours, ours)
    assert surely_less("softmax", ours, classes(200, 200))


def test_a_known_side_stays() -> None:
    assert searched({40: 0.0, 64: 1.0}, {40: 0.010}, 40, free=False) is None
