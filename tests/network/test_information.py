"""The information of answers, and the geometry that it prefers among those that the statistics allow."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.imaging.augmentation import Augmentation
from reid_audit.network.geometries import FINER, WHOLE
from reid_audit.network.heads import HeadKind
from reid_audit.network.information import (
    EVERY,
    FILMS,
    GAIN,
    MORE,
    MOST,
    PLAUSIBLE,
    SMALL,
    Informed,
    information,
    surely_less,
)
from reid_audit.network.search import Search
from reid_audit.observer import SilentObserver
from reid_audit.records import ArchMatch, Box, PreprocessSpec

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


class Stated(Search):
    """A search whose misfits are stated; no two ways show the films alike."""

    def __init__(self, stated: Callable[[PreprocessSpec], float]) -> None:
        match = ArchMatch(library="none", family="none", name="none", coverage=1.0, head="softmax", classes=2)
        pace = Pace(Meter(seconds=None, steps=None, clock=lambda: 0.0), SilentObserver())
        super().__init__(Target(nn.Identity(), match), lambda way, count: torch.zeros(count, 1, 1, 1), pace, "stated")
        self.stated = stated
        self.order: dict[PreprocessSpec, int] = {}

    def misfit(self, geometry: PreprocessSpec, augmentation: Augmentation = "none") -> float:
        return self.stated(geometry) - 1e-9 * self.order.setdefault(geometry, len(self.order))


def searched(nats_at: dict[int, float], misfits: dict[int, float], start: int, *, free: bool = True) -> int | None:
    """The side that is preferred where so many nats are told at each side; at others 0, and 1 misfits."""

    def asked(geometry: PreprocessSpec, _: int) -> Tensor:
        nats = nats_at.get(geometry.side or 0, 0.0) if geometry.resize == "squash" and geometry.crop == "none" else 0.0
        return nats / math.log(2) * classes(8, 8) if nats else classes(16, 0)

    search = Informed(asked, Stated(lambda way: misfits.get(way.side or 0, 1.0)), PreprocessSpec(side=start), free)
    search.climb([PreprocessSpec(side=side) for side in sorted(misfits, key=misfits.__getitem__)])
    found = search.found()
    return None if found is None else found.side


NEAR = {40: 0.020, 64: 0.021, 128: 0.022}


def test_among_geometries_that_fit_alike_the_answers_decide() -> None:
    assert searched({40: 0.0, 64: 1.0}, NEAR, 40) == 64


def test_every_side_is_asked_where_the_statistics_fit_all_alike() -> None:
    """More ways that fit a little better than there are places: the true side is not crowded out."""

    def asked(geometry: PreprocessSpec, _: int) -> Tensor:
        return classes(8, 8) if geometry.side == 96 else classes(16, 0)

    crowd = [PreprocessSpec(side=160, keep=(0.0, edge / 64, 1.0, 1.0)) for edge in range(1, 2 * MOST)]
    search = Informed(asked, Stated(lambda way: 0.0035 if way.side == 96 else 0.003), PreprocessSpec(side=160), True)
    search.climb([*crowd, PreprocessSpec(side=96)])
    found = search.found()
    assert found is not None
    assert found.side == 96


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


def searched_part(truth: Box, films: list[int]) -> Informed:
    """The search for a part of the films: the more of it is shared with the true one, the more the answers tell."""

    def asked(geometry: PreprocessSpec, count: int) -> Tensor:
        films.append(count)
        off = sum(abs(edge - true) for edge, true in zip(geometry.keep or WHOLE, truth, strict=True))
        return (1 - off) * classes(8, 8) / 10 if geometry.resize == "squash" else classes(16, 0)

    start = PreprocessSpec(side=64, resize="shorter", crop="center")
    return Informed(asked, Stated(lambda _: 0.02), start, free=False)


@pytest.mark.parametrize("truth", [(0.0, 0.125, 1.0, 0.8125), (0.1, 0.07, 0.97, 0.8), (0.0, 0.04, 1.0, 0.95)])
def test_the_part_of_the_films_that_was_kept_is_climbed_to(truth: Box) -> None:
    search = searched_part(truth, [])
    search.climb([PreprocessSpec(side=64)])
    found = search.found()
    assert found is not None
    assert found.keep == pytest.approx(truth, abs=FINER[-1])


@pytest.mark.parametrize(
    ("fresh", "part", "cut"),
    [(0.9, 0.03, False), (0.9, 0.01, False), (1.1, 0.03, True)],
    ids=["by chance", "by the statistics alone", "of all films"],
)
def test_a_part_has_to_tell_more_of_films_that_did_not_choose_it(fresh: float, part: float, cut: bool) -> None:
    def asked(geometry: PreprocessSpec, count: int) -> Tensor:
        sureness = torch.full((count, 1), 0.1)
        if geometry.keep is not None:
            sureness[:MORE] *= 1.1
            sureness[MORE:] *= fresh
        return sureness * classes(8, 8).repeat(count // 16, 1) if geometry.resize == "squash" else classes(count, 0)

    stated = Stated(lambda way: 0.02 if way.keep is None else part)
    search = Informed(asked, stated, PreprocessSpec(side=64, resize="shorter", crop="center"), free=False)
    search.climb([PreprocessSpec(side=64)])
    assert search.here.keep is not None
    found = search.found()
    assert found is not None
    assert (found.keep is not None) == cut


@pytest.mark.parametrize(("part", "cut"), [(0.03, False), (0.01, True)])
def test_a_part_whose_answers_may_tell_more_has_to_fit_better_too(part: float, cut: bool) -> None:
    def asked(geometry: PreprocessSpec, count: int) -> Tensor:
        sureness = torch.full((count, 1), 0.1)
        if geometry.keep is not None:
            sureness[:MORE] *= 1.1
            sureness[MORE::2] *= 1.25
            sureness[MORE + 1 :: 2] *= 0.84
        return sureness * classes(8, 8).repeat(count // 16, 1) if geometry.resize == "squash" else classes(count, 0)

    stated = Stated(lambda way: 0.02 if way.keep is None else part)
    search = Informed(asked, stated, PreprocessSpec(side=64, resize="shorter", crop="center"), free=False)
    search.climb([PreprocessSpec(side=64)])
    whole, kept = (asked(way, EVERY)[MORE:] for way in (PreprocessSpec(side=64), search.here))
    assert (information("softmax", kept) or 0.0) > (information("softmax", whole) or 0.0)
    assert not surely_less("softmax", whole, kept)
    found = search.found()
    assert found is not None
    assert (found.keep is not None) == cut


def test_small_steps_ask_more_films_and_whole_films_take_none() -> None:
    films: list[int] = []
    searched_part((0.1, 0.1, 0.9, 0.9), films).climb([PreprocessSpec(side=64)])
    assert set(films) == {FILMS, MORE}
    films.clear()
    search = searched_part(WHOLE, films)
    search.climb([PreprocessSpec(side=64)])
    assert search.here.keep is None
    assert set(films) == {FILMS}


def test_where_the_time_ends_the_climb_what_was_found_stays() -> None:
    search = searched_part((0.1, 0.1, 0.9, 0.9), [])
    whole, ask = PreprocessSpec(side=64), search.asked

    def until(geometry: PreprocessSpec, count: int) -> Tensor | None:
        if len(search.known) > 6:
            raise OutOfTime("asked")
        return ask(geometry, count)

    search.asked = until
    with pytest.raises(OutOfTime):
        search.climb([whole])
    found = search.found()
    assert found is not None
    assert found.keep is not None


@pytest.mark.parametrize(("misfit", "side"), [(0.021, None), (0.019, 64)])
def test_less_is_enough_where_the_statistics_prefer_it_too(misfit: float, side: int | None) -> None:
    sure, nearly = classes(200, 200), classes(200, 200) * 5.9 / SURE
    more = (information("softmax", sure) or 0.0) - (information("softmax", nearly) or 0.0)
    assert 0.0 < more < GAIN
    search = Informed(
        lambda way, _: sure if way.side == 64 else nearly,
        Stated(lambda way: {40: 0.02, 64: misfit}.get(way.side or 0, 1.0)),
        PreprocessSpec(side=40),
        free=False,
    )
    search.climb([PreprocessSpec(side=64)])
    found = search.found()
    assert (None if found is None else found.side) == side


def test_a_known_side_stays() -> None:
    assert searched({40: 0.0, 64: 1.0}, {40: 0.010}, 40, free=False) is None
