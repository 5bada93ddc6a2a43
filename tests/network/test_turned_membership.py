"""The question of ``preprocess_fit`` to films that an affine turned: on their side they hide who was in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_answer_fit import MEMBERS, TRUTH, by_heart
from test_network_preprocessing import raw_films

from reid_audit.audit.hidden_membership import FEWEST
from reid_audit.audit.preprocessing import Specimens
from reid_audit.audit.turned_membership import AS_GIVEN, TURNS, WRONG, Turn, turned, turned_membership
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


def test_films_that_no_affine_turned_and_too_few_are_not_asked() -> None:
    shown, _ = asked((1, False), reoriented=False)
    assert isinstance(shown, Unmeasured)
    few, _ = asked((1, False), members=2 * FEWEST - 2)
    assert few == Unmeasured(metric=few.metric, reason=Reason.TOO_FEW_REFERENCE)


def test_eight_turns_of_a_film_differ() -> None:
    film = Specimens(tuple(raw_films(1, 0)))
    assert len({turned(film, turn).raw[0].pixels.tobytes() for turn in TURNS}) == 8
