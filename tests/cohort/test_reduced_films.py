"""A film that was made smaller for the search of the preprocessing looks, rendered, as the full film does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reid_audit.audit.preprocessing import edge_for
from reid_audit.cohort import Frame, RawFilm, Source, render, sample_pooled
from reid_audit.cohort.reduced import reduced
from reid_audit.network.search import ALL, FEWEST, ROOM, count_at, edge_needed
from reid_audit.records import PreprocessSpec, Scaling

SIZE = (1210, 1003)


def picture(channels: int = 1, noise: float = 12.0) -> NDArray[np.float64]:
    """A film with an outline, ribs and the noise of a detector, [H, W] or [H, W, 3], 0 to 255."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[: SIZE[0], : SIZE[1]] / np.array(SIZE).reshape(2, 1, 1)
    body = 90 + 80 * np.exp(-8 * ((down - 0.5) ** 2 + (across - 0.45) ** 2)) + 20 * np.sin(60 * down)
    planes = [body + 10 * channel + rng.normal(0.0, noise, SIZE) for channel in range(channels)]
    return (planes[0] if channels == 1 else np.stack(planes, axis=-1)).clip(0, 255)


FILMS = {
    "8-bit": RawFilm(picture().astype(np.uint8), "8-bit", 8, 0.0, 255.0),
    "colour": RawFilm(picture(3).astype(np.uint8), "8-bit", 8, 0.0, 255.0),
    "12-bit": RawFilm((picture() * 16).astype(np.uint16), "integer", 12, 0.0, 4095.0),
    "signed": RawFilm((picture() * 16 - 1024).astype(np.int16), "integer", 16, -32768.0, 32767.0),
    "float": RawFilm((picture() / 255).astype(np.float32), "float", 32, 0.0, 1.0),
}


@pytest.mark.parametrize("kind", FILMS)
def test_the_smaller_film_keeps_the_edge_and_the_kind_of_its_values(kind: str) -> None:
    film = FILMS[kind]
    small = reduced(film, 300)
    assert small.pixels.dtype == film.pixels.dtype
    assert small.pixels.shape[:2] == (404, 335)  # three by three pixels each
    assert small.pixels.shape[2:] == film.pixels.shape[2:]
    assert small.pixels.astype(float).mean() == pytest.approx(film.pixels.astype(float).mean(), rel=0.01)
    assert reduced(film, 600) is film


@pytest.mark.parametrize("kind", FILMS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "box"])
@pytest.mark.parametrize("keep", [None, (0.1, 0.0, 0.9, 0.8)])
def test_rendered_it_looks_as_the_full_film(
    kind: str, interpolation: str, keep: tuple[float, float, float, float] | None
) -> None:
    film, scaling = FILMS[kind], Scaling(by="minmax")
    spec = PreprocessSpec(side=100, interpolation=interpolation, keep=keep, scaling=scaling)  # type: ignore[arg-type]
    channels = 3 if kind == "colour" else 1
    full, small = (render(each, spec, 100, channels) for each in (film, reduced(film, round(2.5 * 100))))
    assert float((full - small).abs().mean()) < 0.006  # a grey level and a half, of noise of twelve
    assert float((full - small).mean().abs()) < 0.001


def test_the_nearest_pixel_is_a_pixel_of_the_full_film() -> None:
    film, spec = FILMS["8-bit"], PreprocessSpec(side=64, interpolation="nearest")
    full, small = (render(each, spec, 64, 1) for each in (film, reduced(film, 160)))
    smooth = render(reduced(film, 160), PreprocessSpec(side=64), 64, 1)
    grain, ours, without = (float((each[0, 1:] - each[0, :-1]).std()) for each in (full, small, smooth))
    assert ours == pytest.approx(grain, rel=0.1)
    assert without < 0.7 * grain


@pytest.mark.parametrize(
    "scaling", [Scaling(by="minmax"), Scaling(by="percentiles", limits=(1.0, 99.0)), Scaling(by="bits")]
)
def test_scalings_know_the_grey_values_of_the_full_film(scaling: Scaling) -> None:
    film = FILMS["12-bit"]
    small = reduced(film, 200)
    assert small.extremes() == film.extremes()
    assert (float(small.pixels.min()), float(small.pixels.max())) != film.extremes()
    spec = PreprocessSpec(side=64, scaling=scaling)
    full, ours = render(film, spec, 64, 1), render(small, spec, 64, 1)
    assert float((full - ours).abs().mean()) < 0.004


def test_no_film_is_rendered_at_a_side_for_which_it_is_too_small() -> None:
    for side in (32, 64, 96, 128, 160, 224, 320, 512, 1024):
        last = count_at(PreprocessSpec(side=side), ALL) - 1
        assert edge_needed(last) >= ROOM * side, side
    edges = [edge_needed(place) for place in range(ALL)]
    assert edges == sorted(edges, reverse=True)
    assert edges[ALL - 1] < 0.5 * edges[FEWEST]


def test_what_was_not_resized_or_to_more_than_the_side_is_given_films_that_large() -> None:
    assert edge_for(Frame(PreprocessSpec(resize="none", crop="center", side=64), 64)) is None
    cut = PreprocessSpec(resize="shorter", crop="center", resize_to=96, side=64)
    plain, larger = edge_for(Frame(PreprocessSpec(side=64), 64)), edge_for(Frame(cut, 64))
    assert plain is not None
    assert larger is not None
    assert larger(200) == pytest.approx(1.5 * plain(200), abs=1)
    part = edge_for(Frame(PreprocessSpec(side=64, keep=(0.25, 0.0, 0.75, 1.0)), 64))
    assert part is not None
    assert part(200) == pytest.approx(2 * plain(200), abs=1)


def test_a_known_side_is_one_that_every_film_may_be_rendered_at() -> None:
    known, unknown = (edge_for(Frame(PreprocessSpec(side=side), 512)) for side in (512, None))
    assert known is not None
    assert unknown is not None
    assert known(ALL - 1) >= ROOM * 512 > unknown(ALL - 1)


def test_the_draw_is_the_same_and_its_films_are_smaller(tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(np.roll(FILMS["8-bit"].pixels, number, axis=0)).save(tmp_path / f"{number}.png")
    full = sample_pooled([Source(tmp_path, {})], count=5, seed=0)
    small = sample_pooled([Source(tmp_path, {})], count=5, seed=0, edge=lambda place: 500 if place < 2 else 250)
    assert [film.pixels.shape for film in small.films] == [(605, 502), (605, 502), *[(303, 251)] * 3]
    for one, other in zip(full.films, small.films, strict=True):
        assert other.extremes() == one.extremes()
        assert np.array_equal(reduced(one, min(other.pixels.shape) - 1).pixels, other.pixels)
