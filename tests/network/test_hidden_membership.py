"""The membership question of ``preprocess_fit``: a wrong frame that hides who was in the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_answer_fit import MEMBERS, TRUTH, by_heart, taught
from test_network_preprocessing import at, raw_films

from reid_audit.audit.hidden_membership import FEWEST, Hidden, hidden_membership
from reid_audit.audit.preprocessing import Specimens
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.observer import SilentObserver
from reid_audit.records import Measured, PreprocessSpec, Reason, Unmeasured

CROPPED = at(TRUTH, 32, resize="shorter", crop="center", resize_to=37)


def asked(used: PreprocessSpec, *others: PreprocessSpec, members: int = MEMBERS, pace: Pace | None = None) -> Hidden:
    cohorts = Specimens(raw_films(members, 0)), Specimens(raw_films(96, 9))
    return hidden_membership(by_heart(), used, others, *cohorts, pace)


def test_under_the_truth_no_other_frame_shows_more_of_members() -> None:
    found = asked(TRUTH).measurement
    assert isinstance(found, Measured)
    assert found.value <= 1.0


def test_a_crop_that_hides_members_is_noticed_without_labels() -> None:
    found = asked(CROPPED)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert found.best.resize_to is None


def test_values_that_hide_members_are_noticed_beside_those_a_search_found() -> None:
    wrong = at(TRUTH, 32, std=(0.6,))
    found = asked(wrong, TRUTH)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best == TRUTH


@pytest.mark.parametrize(
    "used",
    [at(TRUTH, 32, keep=(0.0, 0.09, 1.0, 0.91)), at(TRUTH, 32, keep=(0.1, 0.1, 0.9, 0.9))],
    ids=["rows", "all edges"],
)
def test_a_cut_that_hides_members_is_noticed(used: PreprocessSpec) -> None:
    """The network saw whole films; of one that saw a part, `benchmarks/preprocessing.py` has trained networks."""
    found = asked(used)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert found.best.keep is None


def test_films_that_the_network_saw_a_part_of_are_noticed() -> None:
    cut = [replace(film, pixels=np.ascontiguousarray(film.pixels[14:-14])) for film in raw_films(MEMBERS, 0)]
    target = taught(tuple(cut))
    cohorts = Specimens(raw_films(MEMBERS, 0)), Specimens(raw_films(96, 9))
    found = hidden_membership(target, TRUTH, (), *cohorts)
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert found.best.keep is not None


def test_too_few_films_say_nothing() -> None:
    found = asked(CROPPED, members=2 * FEWEST - 2).measurement
    assert found == Unmeasured(metric=found.metric, reason=Reason.TOO_FEW_REFERENCE)


def test_without_time_nothing_is_asked() -> None:
    with pytest.raises(OutOfTime):
        asked(CROPPED, pace=Pace(Meter(seconds=0, steps=None, clock=lambda: 0.0), SilentObserver()))


@pytest.mark.parametrize("side", [28, 40, 64, 112, 160])
def test_a_side_that_hides_members_is_noticed(side: int) -> None:
    found = asked(at(TRUTH, side))
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert found.best.side == 32


def test_another_frame_at_another_side_is_noticed() -> None:
    found = asked(at(TRUTH, 40, resize="shorter", crop="center", resize_to=46))
    assert isinstance(found.measurement, Measured)
    assert found.measurement.value > 1.0
    assert found.best is not None
    assert (found.best.side, found.best.resize_to) == (32, None)
