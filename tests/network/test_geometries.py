"""Ways from a film to a square picture: which parts of films are tried, and what a policy may say of them."""

from __future__ import annotations

import tomllib

import pytest
from pydantic import ValidationError

from reid_audit.network.geometries import NARROWEST, parts, whole
from reid_audit.records import PreprocessSpec

START = PreprocessSpec(side=64)


def test_parts_of_a_whole_film_lie_about_its_middle() -> None:
    boxes = [way.keep for way in parts(START)]
    assert len(set(boxes)) == len(boxes) > 0
    for box in boxes:
        assert box is not None
        assert (box[0], box[1]) == pytest.approx((1 - box[2], 1 - box[3]))
        assert box != (0.0, 0.0, 1.0, 1.0)


def test_parts_are_framed_as_the_film_was_and_take_the_place_of_a_crop() -> None:
    shorter = PreprocessSpec(side=64, resize="shorter", crop="center")
    assert {way.resize for way in parts(shorter)} == {"shorter"}
    cropped = shorter.model_copy(update={"resize_to": 73})
    assert {(way.resize, way.crop, way.resize_to) for way in parts(cropped)} == {("squash", "none", None)}


def test_from_a_part_every_edge_moves_both_ways_and_the_whole_film_is_in_reach() -> None:
    kept = (0.125, 0.125, 0.875, 0.875)
    boxes = [way.keep for way in parts(START.model_copy(update={"keep": kept}))]
    assert None in boxes
    for edge in range(4):
        singly = [box for box in boxes if box and [i for i in range(4) if box[i] != kept[i]] == [edge]]
        assert {box[edge] < kept[edge] for box in singly} == {True, False}


@pytest.mark.parametrize("kept", [(0.0, 0.0, 1.0, 0.9375), (0.25, 0.0, 0.75, 1.0), (0.0, 0.5, 1.0, 1.0)])
def test_no_part_leaves_the_film_or_becomes_a_sliver(kept: tuple[float, float, float, float]) -> None:
    for way in parts(START.model_copy(update={"keep": kept})):
        left, top, right, bottom = way.keep or (0.0, 0.0, 1.0, 1.0)
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert min(right - left, bottom - top) >= NARROWEST
        assert way.keep != kept


def test_the_whole_film_is_the_whole_film() -> None:
    assert whole(PreprocessSpec(side=64, keep=(0.0, 0.1, 1.0, 0.9), resize="longer", crop="center")) == START


def test_what_is_kept_is_written_as_a_policy_reads_it() -> None:
    spec = PreprocessSpec(side=64, keep=(0.0, 0.125, 1.0, 0.9375))
    assert PreprocessSpec(**tomllib.loads(spec.toml())["preprocess"]) == spec
    assert "keep" not in START.toml()


@pytest.mark.parametrize(
    "box", [(0.0, 0.5, 1.0, 0.5), (0.2, 0.0, 0.1, 1.0), (-0.1, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 256.0)]
)
def test_a_part_that_is_none_is_refused_with_an_example(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValidationError, match=r"shares from 0 to 1"):
        PreprocessSpec(keep=box)
