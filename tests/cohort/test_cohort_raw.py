"""Raw films: one film whatever the file's encoding, scaled as declared, drawn without looking at names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from film_writers import WAYS, Film, dicom, smooth_film, widened
from PIL import Image

from reid_audit.cohort import Frame, RawFilm, Source, applied, load_cohort, read_raw, render, sample_pooled, scaled
from reid_audit.cohort.raw import Lookup, Window
from reid_audit.errors import CohortError
from reid_audit.preprocess import UNIT
from reid_audit.records import PreprocessSpec, Scaling

TWELVE = Scaling(by="range", limits=(0, 4095))


def the_film(path: Path) -> RawFilm:
    (film,) = read_raw(path)
    return film


@pytest.fixture(scope="module")
def sixteen() -> list[Film]:
    return [smooth_film(seed) for seed in range(16)]


def stored(folder: Path, films: list[Film], way: str) -> Path:
    """The films in a folder of nameless files with a manifest that gives them to patients p0, p1, ..."""
    folder.mkdir()
    for i, film in enumerate(films):
        WAYS[way](folder / f"IM{i:04d}", film)
    rows = "".join(f"IM{i:04d},p{i}\n" for i in range(len(films)))
    (folder / "manifest.csv").write_text("path,patient_id\n" + rows)
    return folder


def by_patient(folder: Path, scaling: Scaling | None) -> torch.Tensor:
    spec = UNIT.model_copy(update={"scaling": scaling})
    cohort = load_cohort(Source(folder), Frame(spec, 16), "reference")
    return cohort.images[np.argsort(cohort.patients)]


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_films_however_they_are_stored(tmp_path: Path, sixteen: list[Film], way: str) -> None:
    expected = by_patient(stored(tmp_path / "png", sixteen, "png"), None)
    found = by_patient(stored(tmp_path / "other", sixteen, way), TWELVE if "in 16" in way else Scaling(by="bits"))
    assert torch.allclose(found, expected, atol=1.5 / 255, rtol=0)
    assert float((found - expected).mean((1, 2, 3)).abs().max()) < 0.5 / 255


def test_without_a_word_twelve_bits_in_sixteen_stay_dark_and_that_is_said(tmp_path: Path, sixteen: list[Film]) -> None:
    folder = stored(tmp_path / "f", sixteen, "12 in 16 bit png")
    cohort = load_cohort(Source(folder), Frame(UNIT, 16), "reference")
    assert float(cohort.images.max()) < 0.07
    assert any("{ range = [0, 4095] }" in note for note in cohort.notes)
    (grey,) = cohort.summary.grey_values
    assert (grey.bits, grey.declared, grey.films) == (16, False, 16)
    declared = load_cohort(Source(folder), Frame(PreprocessSpec(scaling=TWELVE), 16), "reference")
    assert declared.summary.grey_values[0].declared
    assert not declared.notes


def test_stored_bits_are_rendered_where_nothing_is_declared(tmp_path: Path) -> None:
    film = the_film(dicom(tmp_path / "a", widened(smooth_film(1), 12), 12, WindowCenter="2048", WindowWidth="100"))
    assert (film.kind, film.bits, film.low, film.high, film.inverted) == ("integer", 12, 0.0, 4095.0, False)
    assert film.window == Window(2048.0, 100.0)
    assert applied(film, None) == Scaling(by="bits")
    assert np.allclose(scaled(film, None), film.pixels / 4095)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (Scaling(by="range", limits=(1000, 3000)), lambda x: ((x - 1000) / 2000).clip(0, 1)),
        (Scaling(by="minmax"), lambda x: (x - x.min()) / (x.max() - x.min())),
        (
            Scaling(by="percentiles", limits=(5, 95)),
            lambda x: ((x - np.percentile(x, 5)) / (np.percentile(x, 95) - np.percentile(x, 5))).clip(0, 1),
        ),
        (Scaling(by="window"), lambda x: ((x - 1999.5) / 999 + 0.5).clip(0, 1)),
    ],
)
def test_declared_scalings(tmp_path: Path, scaling: Scaling, expected: Callable[[Film], Film]) -> None:
    stored = widened(smooth_film(2), 12)
    film = the_film(dicom(tmp_path / "a", stored, 12, WindowCenter=["2000", "9"], WindowWidth=["1000", "9"]))
    assert np.allclose(scaled(film, scaling), expected(stored.astype(np.float64)), atol=1e-5)
    inverted = the_film(
        dicom(
            tmp_path / "b", stored, 12, PhotometricInterpretation="MONOCHROME1", WindowCenter="2000", WindowWidth="1000"
        )
    )
    assert np.allclose(scaled(inverted, scaling), 1 - expected(stored.astype(np.float64)), atol=1e-5)


def test_windows_are_pydicoms(tmp_path: Path) -> None:
    tables = pytest.importorskip("pydicom.pixels")
    pydicom = pytest.importorskip("pydicom")
    stored = widened(smooth_film(3), 12)
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        path = dicom(tmp_path / function, stored, 12, WindowCenter="1800", WindowWidth="900", VOILUTFunction=function)
        theirs = tables.apply_voi_lut(stored, pydicom.dcmread(path)) / 4095
        assert np.allclose(scaled(the_film(path), Scaling(by="window")), theirs, atol=1e-4), function
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [1024, 1000, 10], np.arange(1024, dtype="<u2").tobytes()
    path = dicom(tmp_path / "table", stored, 12, VOILUTSequence=[item])
    film = the_film(path)
    assert isinstance(film.window, Lookup)
    theirs = tables.apply_voi_lut(stored, pydicom.dcmread(path)) / 1023
    assert np.allclose(scaled(film, Scaling(by="window")), theirs, atol=1e-6)


def test_a_declaration_leaves_films_alone_that_it_is_not_about() -> None:
    eight, bits = RawFilm(smooth_film(1), "8-bit", 8, 0, 255), Scaling(by="bits")
    assert applied(eight, TWELVE) == applied(eight, Scaling(by="window")) == applied(eight, None) == bits
    assert applied(eight, narrow := Scaling(by="range", limits=(10, 200))) == narrow
    assert applied(eight, Scaling(by="minmax")) == Scaling(by="minmax")


def test_values_that_the_bits_cannot_hold_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "ct.npy", np.linspace(-1000, 2000, 256).astype(np.int16).reshape(16, 16))
    film = the_film(tmp_path / "ct.npy")
    with pytest.raises(CohortError, match="outside 0 to 65535"):
        render(film, UNIT, 16, 1)
    spec = PreprocessSpec(scaling=Scaling(by="range", limits=(-1000, 2000)))
    assert torch.allclose(render(film, spec, 16, 1).flatten(), torch.linspace(0, 1, 256), atol=1e-3)


def test_colour_and_frames(tmp_path: Path) -> None:
    colour = np.stack([smooth_film(i) for i in range(3)], -1)
    film = the_film(dicom(tmp_path / "rgb", colour, 8))
    Image.fromarray(colour).save(tmp_path / "rgb.png")
    picture = the_film(tmp_path / "rgb.png")
    for channels in (1, 3):
        assert torch.equal(render(film, UNIT, 16, channels), render(picture, UNIT, 16, channels))
    frames = np.stack([widened(smooth_film(i), 12) for i in range(4)])
    assert [f.pixels.tolist() for f in read_raw(dicom(tmp_path / "four", frames, 12))] == frames.tolist()


def test_raw_films_say_nothing_of_patients(tmp_path: Path) -> None:
    film = the_film(dicom(tmp_path / "Meyer", widened(smooth_film(1), 12), 12, PatientName="Meyer", PatientID="77"))
    assert film.source == "DICOM, MONOCHROME2, 12 bits stored"


def test_load_cohort_renders_raw_films(tmp_path: Path) -> None:
    for i in range(3):
        dicom(tmp_path / f"{i}.IMA", widened(smooth_film(i), 12), 12)
    spec = PreprocessSpec(scaling=Scaling(by="minmax"))
    cohort = load_cohort(Source(tmp_path), Frame(spec, 16), "reference")
    expected = [render(the_film(tmp_path / f"{i}.IMA"), spec, 16, 1) for i in range(3)]
    assert sorted(image.sum().item() for image in cohort.images) == sorted(film.sum().item() for film in expected)


def folder(path: Path, names: list[str], people: str, seeds: list[int]) -> Path:
    path.mkdir()
    for name, seed in zip(names, seeds, strict=True):
        Image.fromarray(smooth_film(seed)).save(path / name)
    rows = "".join(f"{name},{person}\n" for name, person in zip(names, people, strict=True))
    (path / "manifest.csv").write_text("path,patient_id\n" + rows)
    return path


def shown(films: tuple[RawFilm, ...]) -> list[bytes]:
    return [film.pixels.tobytes() for film in films]


def test_a_draw_does_not_see_names(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", ["a.png", "b.png", "c.png", "d.png", "e.png"], "xxyyz", [1, 2, 3, 4, 5])
    two = folder(tmp_path / "two", ["9.png", "7.png", "5.png", "3.png", "1.png"], "rqqpp", [5, 4, 3, 2, 1])
    for seed in range(4):
        assert shown(sample_pooled([Source(one)], count=3, seed=seed).films) == shown(
            sample_pooled([Source(two)], count=3, seed=seed).films
        )
    assert len({tuple(shown(sample_pooled([Source(one)], count=2, seed=seed).films)) for seed in range(8)}) > 1


def test_a_draw_takes_one_film_of_each_patient_first(tmp_path: Path) -> None:
    path = folder(tmp_path / "f", ["a.png", "b.png", "c.png", "d.png", "e.png"], "xxxyz", [1, 2, 3, 4, 5])
    of = {smooth_film(seed).tobytes(): person for seed, person in zip(range(1, 6), "xxxyz", strict=True)}
    for seed in range(6):
        assert {of[film] for film in shown(sample_pooled([Source(path)], count=3, seed=seed).films)} == {"x", "y", "z"}
    assert len(sample_pooled([Source(path)], count=9, seed=0).films) == 5
    assert len(sample_pooled([Source(path, {"patient_id": "x"})], count=9, seed=0).films) == 3


def test_arrays_are_drawn_film_by_film(tmp_path: Path) -> None:
    stack = np.stack([smooth_film(i) for i in range(6)])
    np.savez(tmp_path / "a.npz", images=stack)
    np.save(tmp_path / "b.npy", stack[::-1])
    drawn = [sample_pooled([Source(tmp_path / name)], count=2, seed=3).films for name in ("a.npz", "b.npy")]
    assert shown(drawn[0]) == shown(drawn[1])
    assert len(drawn[0]) == 2
