"""NIfTI: pictures and slices of volumes, turned by the affine, and refused where they are no films."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reid_audit.cohort import Cohort, Frame, RawFilm, Source, load_cohort, read_raw, scaled, survey
from reid_audit.cohort.formats import Format, sniff
from reid_audit.cohort.nifti import LARGEST
from reid_audit.cohort.read import count_films, may_be_damaged
from reid_audit.cohort.source import SLICES, list_rows
from reid_audit.errors import CohortError
from reid_audit.records import PreprocessSpec, Scaling

nibabel: Any = pytest.importorskip("nibabel", reason="nibabel is not here")
LPS = np.diag([-1.0, -1.0, 2.0, 1.0])
"""The affine of a volume whose axes go as those of DICOM: to the left, to the back, to the head."""
VOXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
"""[left, back, head]"""


def written(
    path: Path, values: NDArray[Any], affine: NDArray[Any] | None = LPS, version: int = 1, **fields: Any
) -> Path:
    """A file as nibabel writes it, with header fields of one's own; packed where it is called so."""
    image = getattr(nibabel, f"Nifti{version}Image")(values, affine)
    if affine is None:
        image.header["sform_code"] = image.header["qform_code"] = 0
    for name, value in fields.items():
        image.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes()) if path.name.endswith(".gz") else image.to_bytes())
    return path


def films(path: Path, axes: str = "") -> list[RawFilm]:
    found = list(read_raw(path, axes))
    assert count_films(path, axes) == len(found)
    return found


def load(path: Path, **options: Any) -> Cohort:
    return load_cohort(Source(path, **options), Frame(PreprocessSpec(side=8), 8), "reference")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "film"])
def test_slices_are_shown_as_a_viewer_shows_them(tmp_path: Path, name: str, version: int) -> None:
    path = written(tmp_path / name, VOXELS, version=version)
    assert sniff(path) is Format.NIFTI
    assert not may_be_damaged(path)
    found = films(path)
    assert [film.kind for film in found] == ["8-bit"] * 3
    for place, film in enumerate(found):
        assert np.array_equal(film.pixels, VOXELS[:, :, place].T), "rows go to the back, columns to the left"


@pytest.mark.parametrize("turn", ["RAS", "SPR", "ILA"])
def test_how_a_volume_was_stored_does_not_matter(tmp_path: Path, turn: str) -> None:
    image = nibabel.Nifti1Image(VOXELS, LPS)
    ends = nibabel.orientations.axcodes2ornt(tuple(turn))
    other = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(LPS), ends))
    assert "".join(nibabel.aff2axcodes(other.affine)) == turn
    (tmp_path / "b.nii").write_bytes(other.to_bytes())
    one, two = films(written(tmp_path / "a.nii", VOXELS)), films(tmp_path / "b.nii")
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, two, strict=True))


def test_a_table_says_how_training_cut_and_turned(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii", VOXELS)
    assert np.array_equal(films(path, "ILP")[1].pixels, VOXELS[:, 1, ::-1].T)
    assert np.array_equal(films(path, "IPL")[2].pixels, VOXELS[2, :, ::-1].T)
    assert np.array_equal(films(path, "RAS")[0].pixels, VOXELS[::-1, ::-1, 0])
    assert np.array_equal(films(path, "STORED")[2].pixels, VOXELS[:, :, 2])
    (tmp_path / "t.csv").write_text("path,patient_id,axes,frame\na.nii,p,stored,2\na.nii,p,ILP,\n")
    rows = list_rows(tmp_path / "t.csv").rows
    assert [(row.axes, row.film) for row in rows] == [("STORED", 1), ("ILP", 0), ("ILP", 1), ("ILP", 2), ("ILP", 3)]
    assert len(load(tmp_path / "t.csv").images) == 5
    (tmp_path / "t.csv").write_text("path,patient_id,axes\na.nii,p,PLX\n")
    with pytest.raises(CohortError, match=r"row 2 of t\.csv names the axes PLX"):
        list_rows(tmp_path / "t.csv")


def test_slices_are_films_of_one_patient_and_how_they_are_turned_is_said(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / "f" / f"p{number}.nii.gz", np.roll(VOXELS, number, axis=0))
    cohort = load(tmp_path / "f")
    assert (cohort.summary.patients, cohort.summary.images) == (3, 9)
    assert SLICES in cohort.notes
    (tmp_path / "f" / "manifest.csv").write_text(
        "path,patient_id,axes\n" + "".join(f"p{i}.nii.gz,{i},PLS\n" for i in "012")
    )
    assert SLICES not in load(tmp_path / "f").notes


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 1, 1)])
def test_a_picture_is_one_film(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (film,) = films(written(tmp_path / "a.nii", VOXELS[:, :, 0].reshape(shape)))
    assert np.array_equal(film.pixels, VOXELS[:, :, 0].T)


def test_a_slice_is_shown_in_its_own_plane(tmp_path: Path) -> None:
    (coronal,) = films(written(tmp_path / "a.nii", VOXELS[:, 1:2, :]))
    assert np.array_equal(coronal.pixels, VOXELS[:, 1, ::-1].T)
    (sagittal,) = films(written(tmp_path / "b.nii", VOXELS[2:3]))
    assert np.array_equal(sagittal.pixels, VOXELS[2, :, ::-1].T)


def test_without_an_orientation_the_array_is_taken_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(films(written(tmp_path / "a.nii", VOXELS, None))[1].pixels, VOXELS[:, :, 1])


def test_values_are_those_after_slope_and_intercept(tmp_path: Path) -> None:
    hounsfield = (VOXELS.astype(np.int16) * 8) - 1024
    (plain, *_) = films(written(tmp_path / "a.nii", hounsfield))
    assert (plain.kind, plain.bits, plain.low, plain.high) == ("integer", 16, -32768, 32767)
    wanted = scaled(plain, Scaling.model_validate({"by": "range", "limits": (-1024, 1016)}))
    scaled_ = written(
        tmp_path / "b.nii", VOXELS.astype(np.int16), scl_slope=8.0, scl_inter=-1024.0, cal_min=-1024.0, cal_max=1016.0
    )
    (sloped, *_) = films(scaled_)
    assert np.array_equal(sloped.pixels, plain.pixels)
    assert (sloped.low, sloped.high) == (-32768 * 8 - 1024, 32767 * 8 - 1024)
    assert np.allclose(scaled(sloped, Scaling(by="window")), wanted, atol=1e-6)
    (floats, *_) = films(written(tmp_path / "c.nii", VOXELS.astype(">f8") / 255))
    assert floats.kind == "float"
    assert floats.pixels.dtype == np.float32
    colours = np.zeros(VOXELS.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = VOXELS
    (colour, *_) = films(written(tmp_path / "d.nii", colours))
    assert colour.pixels.shape == (4, 5, 3)
    assert np.array_equal(colour.pixels[..., 1], VOXELS[:, :, 0].T)


NAN = np.full((4, 4, 2), np.nan, np.float32)
BAD: dict[str, tuple[NDArray[Any], dict[str, Any], str]] = {
    "a series": (np.zeros((4, 4, 2, 5), np.uint8), {}, "one volume a file"),
    "nothing": (VOXELS, {"dim": [3, 0, 4, 3, 1, 1, 1, 1]}, "holds no films"),
    "not numbers": (NAN, {}, "not finite"),
    "complex": (np.zeros((4, 4, 2), np.complex64), {}, "complex64"),
    "a type that nobody knows": (VOXELS, {"datatype": 9999}, "9999"),
    "longer than the file": (VOXELS, {"dim": [3, 500, 500, 500, 1, 1, 1, 1]}, "ends before its values"),
    "larger than memory": (VOXELS, {"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "at most 4"),
    "far behind the header": (VOXELS, {"vox_offset": 1e12}, "at most 4"),
    "an offset that is no number": (VOXELS, {"vox_offset": np.nan}, "at most 4"),
    "an affine of nothing": (VOXELS, {"srow_x": 0, "srow_y": 0, "srow_z": 0, "sform_code": 1}, "axes = stored"),
    "an affine that is no number": (VOXELS, {"srow_x": np.nan, "sform_code": 1}, "axes = stored"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_what_is_no_film_is_refused_in_three_lines(tmp_path: Path, what: str, packed: bool) -> None:
    values, fields, said = BAD[what]
    image = nibabel.Nifti1Image(values, LPS)
    block = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(block[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    block[:348] = header.binaryblock
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(block) if packed else block)
    with pytest.raises(CohortError, match=r"cannot read the image .*a\.nii") as refusal:
        load(tmp_path)
    shown = f"{refusal.value.what} {refusal.value.closest}"
    assert (said if not packed or what != "longer than the file" else "Expected") in shown
    assert refusal.value.remedy
    assert survey(Source(tmp_path), role="reference").faults


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, 340, 380])
def test_a_file_that_was_cut_is_damaged(tmp_path: Path, name: str, kept: int) -> None:
    path = written(tmp_path / name, VOXELS)
    whole = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    path.write_bytes(gzip.compress(whole[:kept]) if name.endswith(".gz") else whole[:kept])
    assert may_be_damaged(path)
    with pytest.raises(CohortError, match="cannot read the image"):
        load(tmp_path)
    path.write_bytes(gzip.compress(whole)[:60] if name.endswith(".gz") else b"")
    assert may_be_damaged(path)
    with pytest.raises(CohortError, match="cannot read the image"):
        load(tmp_path)


def test_a_pair_of_files_is_refused_with_the_way_out(tmp_path: Path) -> None:
    block = bytearray(nibabel.Nifti1Image(VOXELS, LPS).to_bytes())
    block[344:348] = b"ni1\x00"
    (tmp_path / "a.hdr").write_bytes(block[:348])
    with pytest.raises(CohortError, match=r"a\.hdr") as refusal:
        load(tmp_path)
    assert "one .nii file" in refusal.value.closest


def test_another_packed_file_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path / "f" / "a.nii", VOXELS)
    (tmp_path / "f" / "notes.gz").write_bytes(gzip.compress(b"nothing " * 99))
    assert {one.why: one.count for one in load(tmp_path / "f").summary.left_out} == {"packed archives": 1}


def test_without_nibabel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.nii", VOXELS)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(CohortError, match="NIfTI and nibabel is not installed") as refusal:
        load(tmp_path)
    assert refusal.value.remedy == 'pip install "reid-audit[nifti]"'


def test_a_header_costs_no_memory(tmp_path: Path) -> None:
    assert LARGEST < 2**33
    path = written(tmp_path / "a.nii.gz", VOXELS)
    block = bytearray(gzip.decompress(path.read_bytes()))
    header = nibabel.Nifti1Header(bytes(block[:348]), check=False)
    header["dim"] = [3, 1000, 1000, 3000, 1, 1, 1, 1]
    block[:348] = header.binaryblock
    path.write_bytes(gzip.compress(block))
    assert count_films(path) == 3000, "the header alone is read"
    assert may_be_damaged(path)
