"""Films that the network saw turned otherwise than they lie here: found, declared, and asked about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_answer_fit import MEMBERS, TRUTH, by_heart, words
from test_network_preprocessing import at, films_at, raw_films, remembering

from reid_audit.audit.hidden_membership import hidden_membership
from reid_audit.audit.preprocessing import Specimens, ask_network, choose_preprocessing, left_open
from reid_audit.cohort import RawFilm
from reid_audit.network.answer_fit import fit_by_answers
from reid_audit.network.geometries import OF_PICTURES, OF_SLICES
from reid_audit.network.preprocessing import fit_preprocess
from reid_audit.network.search import Ways
from reid_audit.preprocess import from_network, to_network, turned
from reid_audit.records import Measured, PreprocessPolicy, PreprocessSpec, Turn

QUARTER = PreprocessSpec(mean=(0.5,), std=(0.25,))


def lying(films: tuple[RawFilm, ...], turn: Turn, *, reoriented: bool = False) -> tuple[RawFilm, ...]:
    """The films turned by ``turn``."""
    own = (turned(torch.from_numpy(film.pixels), turn).numpy() for film in films)
    return tuple(replace(film, pixels=p, reoriented=reoriented) for film, p in zip(films, own, strict=True))


@pytest.mark.parametrize("turn", OF_SLICES)
def test_turns_are_pillows_and_undone(turn: Turn) -> None:
    picture = torch.rand(2, 1, 12, 12)
    spec = PreprocessSpec(mean=(0.3,), std=(0.2,), turn=turn)
    assert torch.allclose(from_network(to_network(picture, spec, 1), spec), picture, atol=1e-6)
    grey = Image.fromarray(raw_films(1, 0)[0].pixels)
    wanted = grey if turn == "none" else grey.transpose(Image.Transpose[turn.upper()])
    assert np.array_equal(turned(torch.from_numpy(np.array(grey)), turn).numpy(), np.asarray(wanted))


def test_monai_reads_pictures_with_rows_and_columns_swapped(tmp_path: Path) -> None:
    transforms = pytest.importorskip("monai.transforms")
    film = raw_films(1, 0)[0]
    Image.fromarray(film.pixels).save(tmp_path / "film.png")
    loaded = np.asarray(transforms.LoadImage(image_only=True)(tmp_path / "film.png"))
    assert np.array_equal(loaded, turned(torch.from_numpy(film.pixels), "transpose").numpy())


@pytest.mark.parametrize(
    ("turn", "among", "side"), [("none", OF_SLICES, 32), ("transpose", OF_PICTURES, None), ("rotate_90", OF_SLICES, 32)]
)
def test_statistics_tell_the_turn(turn: Turn, among: tuple[Turn, ...], side: int | None) -> None:
    films = raw_films(24, 0)
    target = remembering(films[:8], at(QUARTER, 32, turn=turn))
    found = fit_preprocess(target, films_at(films), side=side, ways=Ways(turns=among))
    assert found is not None
    assert (found.best.turn, found.best.side) == (turn, 32)


@pytest.mark.parametrize("turn", ["none", "transpose"])
def test_answers_tell_the_turn(turn: Turn) -> None:
    films = lying(raw_films(MEMBERS, 0), turn)
    found = fit_by_answers(by_heart(), films_at(films), words(MEMBERS), side=32, ways=Ways(turns=OF_PICTURES))
    assert found is not None
    assert found.best.turn == turn


def test_a_declared_turn_stands_and_one_that_is_not_declared_is_found() -> None:
    films = raw_films(24, 0)
    target = remembering(films[:8], at(QUARTER, 32, turn="transpose"))
    asked = ask_network(target, None, Specimens(films))
    for declared, turn in (
        (PreprocessSpec(side=32, mean=(0.5,), std=(0.25,)), "transpose"),
        (PreprocessSpec(side=32, mean=(0.5,), std=(0.25,), turn="none"), "none"),
    ):
        chosen = choose_preprocessing(target, PreprocessPolicy(declared=declared), asked)
        assert (chosen.spec.turn, chosen.spec.mean) == (turn, (0.5,))


def test_a_turn_that_is_not_declared_is_left_open_as_are_values_that_are_to_be_inferred() -> None:
    framed = PreprocessSpec(side=32, resize="squash", crop="none", interpolation="bilinear")
    stated = framed.model_copy(update={"turn": "none"})
    assert left_open(PreprocessPolicy())
    assert left_open(PreprocessPolicy(declared=framed))
    assert left_open(PreprocessPolicy(declared=stated, values="inferred"))
    assert not left_open(PreprocessPolicy(declared=stated))


@pytest.mark.parametrize(
    ("turn", "back", "reoriented"),
    [("transpose", "transpose", False), ("rotate_90", "rotate_270", True), ("transverse", "transverse", True)],
)
def test_films_that_lie_otherwise_hide_members_and_the_turn_is_named(turn: Turn, back: Turn, reoriented: bool) -> None:
    ours, theirs = (
        Specimens(lying(raw_films(count, seed), turn, reoriented=reoriented)) for count, seed in ((MEMBERS, 0), (96, 9))
    )
    found = hidden_membership(by_heart(), TRUTH, (), ours, theirs)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert f'turn = "{back}"' in found.best.toml()


@pytest.mark.parametrize("reoriented", [False, True])
def test_films_that_lie_as_in_training_are_not_doubted(reoriented: bool) -> None:
    ours, theirs = (
        Specimens(lying(raw_films(count, seed), "none", reoriented=reoriented))
        for count, seed in ((MEMBERS, 0), (96, 9))
    )
    found = hidden_membership(by_heart(), TRUTH, (), ours, theirs).measurement
    assert isinstance(found, Measured)
    assert found.value <= 1.0


def test_answers_tell_turn_and_side_together() -> None:
    """Of films that lie otherwise a wrong side may be answered best."""
    films = lying(raw_films(MEMBERS, 0), "transpose")
    found = fit_by_answers(by_heart(), films_at(films), words(MEMBERS), side=None, ways=Ways(turns=OF_PICTURES))
    assert found is not None
    assert (found.best.turn, found.best.side) == ("transpose", 32)
