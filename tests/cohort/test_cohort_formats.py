"""What a file is, its content says: films of any name are read, what is no film is counted, damage is named."""

from __future__ import annotations

import gzip
import importlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import missing
from film_writers import dicom, smooth_film, widened
from PIL import Image

from reid_audit.cohort import Cohort, Frame, RawFilm, Source, load_cohort, read_raw, render, scaled
from reid_audit.errors import CohortError
from reid_audit.preprocess import UNIT


def load(path: Path, **options: Any) -> Cohort:
    said = {name: options.pop(name) for name in ("where", "strata", "label") if name in options}
    role = options.pop("role", "reference")
    return load_cohort(Source(path, **said), Frame(**{"spec": UNIT, "side": 16, **options}), role)


def left_out(cohort: Cohort) -> dict[str, int]:
    return {one.why: one.count for one in cohort.summary.left_out}


def the_film(path: Path) -> RawFilm:
    (film,) = read_raw(path)
    return film


def pydicom() -> Any:
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        return missing("pydicom")


@pytest.mark.parametrize(("kind", "options"), [("BMP", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("TIFF", {})])
@pytest.mark.parametrize("name", ["film", "film.IMA", "film.png"])
def test_pictures_of_any_name(tmp_path: Path, kind: str, options: dict[str, Any], name: str) -> None:
    film = smooth_film(1)
    Image.fromarray(film).save(tmp_path / name, format=kind, **options)
    assert torch.equal(load(tmp_path).images[0], render(RawFilm(film, "8-bit", 8, 0, 255), UNIT, 16, 1))


def test_jpeg_2000_of_8_and_12_bits(tmp_path: Path) -> None:
    Image.fromarray(smooth_film(1)).save(tmp_path / "a.jp2", format="JPEG2000", irreversible=False)
    assert np.array_equal(the_film(tmp_path / "a.jp2").pixels, smooth_film(1))
    Image.fromarray(widened(smooth_film(1), 16)).save(tmp_path / "b.jp2", format="JPEG2000", irreversible=False)
    film = the_film(tmp_path / "b.jp2")
    assert (film.kind, film.bits) == ("integer", 16)
    assert np.array_equal(film.pixels, widened(smooth_film(1), 16))


def test_all_sixteen_ima_files_are_read(tmp_path: Path) -> None:
    for i in range(8):
        Image.fromarray(smooth_film(i)).save(tmp_path / f"{i}.png")
        dicom(tmp_path / f"{i}.IMA", widened(smooth_film(8 + i), 12), 12)
    cohort = load(tmp_path)
    assert cohort.summary.images == cohort.summary.files == 16
    assert not cohort.summary.left_out


def test_what_is_left_out_is_counted_with_the_reason(tmp_path: Path) -> None:
    Image.fromarray(smooth_film(1)).save(tmp_path / "a.png")
    dicom(tmp_path / "b", widened(smooth_film(2), 12), 12)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "labels.csv").write_text("x")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "model.bin").write_bytes(b"x" * 400)
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"x"))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("film.png", b"x")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    report = pydicom().Dataset()
    report.Modality, report.SOPClassUID, report.SOPInstanceUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11", "1.2"
    report.save_as(tmp_path / "report.dcm", implicit_vr=True, little_endian=True)
    dicom(tmp_path / "mask.dcm", smooth_film(3), 8, Modality="SEG")
    cohort = load(tmp_path)
    assert cohort.summary.images == 2
    assert left_out(cohort) == {
        "tables and texts": 2,
        "hidden files": 1,
        "files that hold no image": 1,
        "packed archives": 2,
        "broken links": 1,
        "DICOM files without an image": 2,
    }
    assert any(note.startswith("2 films read from 2 files; left out: 2 ") for note in cohort.notes)


def test_rows_and_images_that_a_manifest_leaves_out_are_counted(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(smooth_film(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "manifest.csv").write_text("path,patient_id,split\n0.png,a,x\n1.png,b,y\n2.png,c,x\n")
    assert left_out(load(tmp_path, where={"split": "x"})) == {
        "rows outside the filter": 1,
        "images that the manifest does not name": 1,
    }


def test_what_is_called_a_film_and_is_none_is_refused(tmp_path: Path) -> None:
    Image.fromarray(smooth_film(1)).save(tmp_path / "a.png")
    for name in ("b.png", "c.dcm", "d.ima", "e.npz"):
        (tmp_path / name).write_bytes(b"<html>not found</html>")
        with pytest.raises(CohortError, match=f"cannot read the image .*{name}"):
            load(tmp_path)
        (tmp_path / name).unlink()


def test_volumes_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for name, content in (
        ("a.nrrd", b"NRRD0004\n"),
        ("a.mha", b"ObjectType = Image\n"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CohortError, match="cannot read the image") as refusal:
            load(tmp_path)
        assert "export the slices" in refusal.value.closest
        (tmp_path / name).unlink()


def test_an_exif_orientation_is_applied(tmp_path: Path) -> None:
    film = smooth_film(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(film).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(the_film(tmp_path / "a.png").pixels, np.rot90(film, -1))
    assert any(note.startswith("1 films were turned") for note in load(tmp_path).notes)


def test_pages_of_a_tiff_are_films_of_one_patient_and_its_thumbnail_is_none(tmp_path: Path) -> None:
    pages = [Image.fromarray(smooth_film(i)) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    cohort = load(tmp_path)
    assert (cohort.summary.images, cohort.summary.patients) == (3, 1)
    small = pages[0].resize((8, 8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert load(tmp_path).summary.images == 1


def test_frames_are_films_of_one_patient_and_a_row_can_name_one(tmp_path: Path) -> None:
    frames = np.stack([widened(smooth_film(i), 12) for i in range(4)])
    dicom(tmp_path / "a", frames, 12)
    dicom(tmp_path / "b", widened(smooth_film(9), 12), 12)
    cohort = load(tmp_path)
    assert (cohort.summary.images, cohort.summary.patients, cohort.summary.files) == (5, 2, 2)
    table = tmp_path / "list.csv"
    table.write_text("path,patient_id,frame\na,p,2\na,p,4\nb,q,\n")
    assert load(table).summary.images == 3
    table.write_text("path,patient_id,frame\na,p,5\n")
    with pytest.raises(CohortError, match="names frame 5"):
        load(table)
    table.write_text("path,patient_id\na,p\n")
    assert load(table).summary.images == 4


def test_animations_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(smooth_film(i)) for i in range(3)]
    pages[0].save(tmp_path / "a.webp", save_all=True, append_images=pages[1:])
    with pytest.raises(CohortError, match="cannot read the image") as refusal:
        load(tmp_path)
    assert "3 frames" in refusal.value.closest


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_its_preamble(tmp_path: Path, implicit: bool) -> None:
    data = pydicom().dcmread(dicom(tmp_path / "a", widened(smooth_film(1), 12), 12))
    del data.file_meta
    data.preamble = None
    data.save_as(tmp_path / "a", implicit_vr=implicit, little_endian=True)
    assert (tmp_path / "a").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(the_film(tmp_path / "a").pixels, widened(smooth_film(1), 12))


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    index = smooth_film(1)
    path = dicom(tmp_path / "a", index, 8, PhotometricInterpretation="PALETTE COLOR")
    data = pydicom().dcmread(path)
    tables = (np.arange(256), np.arange(256)[::-1], np.zeros(256))
    for number, (colour, table) in enumerate(zip(("Red", "Green", "Blue"), tables, strict=True)):
        data.add_new((0x0028, 0x1101 + number), "US", [256, 0, 16])
        setattr(data, f"{colour}PaletteColorLookupTableData", (table.astype("<u2") * 257).tobytes())
    data.save_as(path)
    assert np.array_equal(the_film(path).pixels, np.stack([index, 255 - index, np.zeros_like(index)], -1))


def test_enhanced_files_keep_slope_and_window_in_their_groups(tmp_path: Path) -> None:
    def group(slope: float, center: float) -> Any:
        frame, values, window = pydicom().Dataset(), pydicom().Dataset(), pydicom().Dataset()
        values.RescaleSlope, values.RescaleIntercept, window.WindowCenter, window.WindowWidth = slope, 0, center, 100
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [values], [window]
        return frame

    frames = np.stack([widened(smooth_film(i), 12) for i in range(2)])
    groups = [group(2, 500), group(-1, 900)]
    path = dicom(tmp_path / "a", frames, 12, PerFrameFunctionalGroupsSequence=groups)
    first, second = read_raw(path)
    assert np.array_equal(first.pixels, 2.0 * frames[0])
    assert (first.low, first.high, second.low, second.high) == (0, 8190, -4095, 0)
    assert [film.window.center for film in (first, second)] == [500, 900]  # type: ignore[union-attr]
    assert np.allclose(scaled(second, None), 1 - frames[1] / 4095, atol=1e-6)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    Image.fromarray(smooth_film(1)).save(tmp_path / "store" / "a.png")
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "p1").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(folder)
    assert load(folder).summary.images == 1


def test_decoders_say_nothing_of_the_header(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = dicom(tmp_path / "a", widened(smooth_film(1), 12), 12, PatientID="Meyer77")
    content = path.read_bytes().replace(b"Meyer77", b"Mey\xe4\x007\x07")
    path.write_bytes(content)
    assert load(tmp_path).summary.images == 1
    assert not [warning for warning in recwarn if "Mey" in str(warning.message)]
