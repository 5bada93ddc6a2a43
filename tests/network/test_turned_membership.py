"""The question of ``preprocess_fit`` to films that an affine turned: on their side they hide who was in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_answer_fit import MEMBERS, TRUTH, by_heart
from test_network_preprocessing import raw_films

from reid_audit.audit.hidden_membership import FEWEST
from reid_audit.audit.preprocessing import Specimens
from reid_audit.audit.turned_membership import AS_GIVEN, TRANSPOSED, TURNS, WRONG, Turn, turned, turned_membership
from reid_audit.budget import Pace, unhurried
from reid_audit.observer import Event, Noted
from reid_audit.records import Measured, Measurement, Reason, Unmeasured


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)


def asked(turn: Turn = AS_GIVEN, *, members: int = MEMBERS, reoriented: bool = True) -> tuple[Measurement, list[Event]]:
    ours, theirs = (
        Specimens(tuple(replace(film, reoriented=reoriented) for film in raw_films(count, seed)))
        for count, seed in ((members, 0), (96, 9))
    )
    heard = Heard()
    pace = Pace(unhurried().meter, heard)
    return turned_membership(by_heart(), TRUTH, turned(ours, turn), turned(theirs, turn), pace), heard.events


def test_films_that_lie_as_in_training_are_not_doubted() -> None:
    found, said = asked()
    assert isinstance(found, Measured)
    assert found.value <= 1.0
    assert Noted(WRONG) not in said


@pytest.mark.parametrize("turn", [(1, False), (2, True), (3, True)])
def test_films_on_their_side_are_noticed(turn: Turn) -> None:
    found, said = asked(turn)
    assert isinstance(found, Measured)
    assert found.value > 1.0
    assert Noted(WRONG) in said


def test_monai_reads_pictures_with_rows_and_columns_swapped(tmp_path: Path) -> None:
    transforms = pytest.importorskip("monai.transforms")
    film = raw_films(1, 0)[0]
    Image.fromarray(film.pixels).save(tmp_path / "film.png")
    loaded = np.asarray(transforms.LoadImage(image_only=True)(tmp_path / "film.png"))
    assert np.array_equal(loaded, turned(Specimens((film,)), TRANSPOSED).raw[0].pixels)


def test_pictures_are_asked_with_rows_and_columns_swapped() -> None:
    """As MONAI's readers hand them to training."""
    for film in raw_films(2, 0):
        swapped = turned(Specimens((film,)), TRANSPOSED).raw[0]
        assert np.array_equal(swapped.pixels, film.pixels.T)
    found, said = asked(TRANSPOSED, reoriented=False)
    assert isinstance(found, Measured)
    assert found.value > 1.0
    assert Noted(WRONG) in said
    upright, said = asked(reoriented=False)
    assert isinstance(upright, Measured)
    assert upright.value <= 1.0
    assert Noted(WRONG) not in said


def test_too_few_films_and_films_in_one_frame_are_not_asked() -> None:
    framed = Specimens(fixed=torch.rand(64, 1, 32, 32))
    assert isinstance(turned_membership(by_heart(), TRUTH, framed, framed), Unmeasured)
    few, _ = asked((1, False), members=2 * FEWEST - 2)
    assert few == Unmeasured(metric=few.metric, reason=Reason.TOO_FEW_REFERENCE)


def test_turned_films_share_the_memory_of_those_that_were_given() -> None:
    """Hundreds of films of several megapixels are held at once."""
    films = Specimens(raw_films(2, 0))
    for turn in TURNS:
        for given, put in zip(films.raw, turned(films, turn).raw, strict=True):
            assert np.shares_memory(given.pixels, put.pixels)


def test_eight_turns_of_a_film_differ() -> None:
    film = Specimens(tuple(raw_films(1, 0)))
    assert len({turned(film, turn).raw[0].pixels.tobytes() for turn in TURNS}) == 8
