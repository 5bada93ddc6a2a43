"""A survey finds everything that is wrong with both cohorts, at once, and names nobody in what it says aloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from film_writers import Film, dicom, smooth_film, widened
from PIL import Image

from reid_audit.budget import Meter, Pace
from reid_audit.cohort import CohortSurvey, Source, counted, shared, survey
from reid_audit.errors import CohortError
from reid_audit.records import GreyValues, LeftOut, Scaling


def png(path: Path, film: Film) -> Path:
    Image.fromarray(film).save(path)
    return path


def side(path: Path, **options: object) -> CohortSurvey:
    said = {name: options.pop(name) for name in ("where", "strata", "label") if name in options}
    return survey(Source(path, **said), **{"role": "reference", **options})  # type: ignore[arg-type]


def manifest(folder: Path, rows: list[str], head: str = "path,patient_id,age,sex") -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(8):
        png(folder / f"{i}.png", smooth_film(i))
    (folder / "manifest.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


def test_a_good_side_has_no_faults_and_is_counted(tmp_path: Path) -> None:
    found = side(manifest(tmp_path / "f", ["0.png,a,045Y,F", "1.png,a,,F", "2.png,b,006M,"]))
    found.refuse()
    assert (found.films, found.patients, found.files, found.decoded, found.ages, found.sexes) == (3, 2, 3, 3, 2, 2)
    assert found.left_out == (LeftOut(why="images that the manifest does not name", count=5),)
    assert found.grey_values == (GreyValues(kind="8-bit", bits=8, scaling=Scaling(by="bits"), declared=False, films=3),)


def test_every_fault_is_found_at_once(tmp_path: Path) -> None:
    folder = manifest(
        tmp_path / "f",
        [
            "0.png,a,old,F",
            "1.png,b,414,F",
            "2.png,c,30,7",
            "3.png,,40,M",
            "gone.png,d,30,M",
            "4.png,e,1,M",
            "5.png,f,,",
        ],
    )
    for name in ("4.png", "5.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    found = side(folder)
    assert dict(counted(found.faults)) == {"age": 2, "sex": 1, "patient": 1, "missing": 1, "unreadable": 2}
    with pytest.raises(CohortError, match="7 faults") as refusal:
        found.refuse()
    assert all(refusal.value.lines())


def test_a_source_that_cannot_be_used_is_a_fault_too(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        assert counted(side(path).faults) == (("source", 1),)
    folder = manifest(tmp_path / "f", ["0.png,a,45,F"])
    assert counted(side(folder, label="finding").faults) == (("source", 1),)
    assert counted(side(folder, where={"sex": "M"}).faults) == (("source", 1),)


def test_damage_is_found_beyond_what_is_decoded(tmp_path: Path) -> None:
    for i in range(6):
        png(tmp_path / f"{i}.png", smooth_film(i))
        dicom(tmp_path / f"{i}.dcm", widened(smooth_film(10 + i), 12), 12)
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:-30])
    (tmp_path / "4.dcm").write_bytes((tmp_path / "4.dcm").read_bytes()[:-30])
    found = side(tmp_path, decode_bytes=1)
    assert counted(found.faults) == (("unreadable", 2),)
    assert (found.films, found.decoded) == (12, 0)
    assert any("0 of 12 films were decoded" in note for note in found.notes)


def test_blank_films_are_a_fault_where_they_prevail(tmp_path: Path) -> None:
    for i in range(3):
        png(tmp_path / f"{i}.png", np.full((20, 20), i, dtype=np.uint8))
    png(tmp_path / "film.png", smooth_film(0))
    assert counted(side(tmp_path).faults) == (("blank", 1),)


def test_values_that_do_not_fit_are_a_fault(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.linspace(-9, 9, 256).astype(np.int16).reshape(16, 16))
    assert counted(side(tmp_path).faults) == (("values", 1),)
    assert not side(tmp_path, scaling=Scaling(by="range", limits=(-10, 10))).faults


def test_what_both_sides_share(tmp_path: Path) -> None:
    one = side(manifest(tmp_path / "one", ["0.png,a,,", "1.png,7,,", "2.png,b,,", "3.png,c,,"]))
    other = tmp_path / "two"
    other.mkdir()
    png(other / "x.png", smooth_film(20))
    png(other / "y.png", smooth_film(21))
    dicom(other / "z", widened(smooth_film(2), 12), 12)  # the film of patient b again, in another file
    (other / "manifest.csv").write_text("path,patient_id\nx.png,a\ny.png,007\nz,secret\n")
    found = shared(one, side(other, role="holdout"))
    assert (found.ids, found.respelt, found.pictures) == (("a",), (("7", "007"),), (("b", "secret"),))
    assert found.patients == 3
    with pytest.raises(CohortError, match="3 patients are in both cohorts") as refusal:
        found.refuse()
    assert "secret" not in " ".join(refusal.value.lines())
    assert shared(one, side(manifest(tmp_path / "three", ["7.png,z,,"]), role="holdout")).patients == 0


def test_rows_at_fault_still_say_who_is_meant(tmp_path: Path) -> None:
    rows = ["0.png,a,old,F", "1.png,b,40,7", "gone.png,c,40,F", "2.png,d,40,F"]
    one = side(manifest(tmp_path / "one", rows))
    other = tmp_path / "two"
    other.mkdir()
    for i, name in enumerate("abcz"):
        png(other / f"{name}.png", smooth_film(30 + i))
    (other / "manifest.csv").write_text("path,patient_id\n" + "".join(f"{name}.png,{name}\n" for name in "abcz"))
    assert len(one.faults) == 3
    assert shared(one, side(other, role="holdout")).ids == ("a", "b", "c")


def test_pictures_are_compared_where_nobody_is_named(tmp_path: Path) -> None:
    for name, seeds in (("one", (1, 2)), ("two", (2, 3))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            png(tmp_path / name / f"{seed}.png", smooth_film(seed))
            png(tmp_path / name / f"black{seed}.png", np.zeros((20, 20), dtype=np.uint8))
    found = shared(side(tmp_path / "one"), side(tmp_path / "two", role="holdout"))
    assert (found.known, found.patients) == (False, 1)
    unlooked = [side(tmp_path / name, decode_bytes=0) for name in ("one", "two")]
    assert shared(*unlooked).patients >= 1


def test_a_film_under_two_patients_is_counted(tmp_path: Path) -> None:
    folder = manifest(tmp_path / "f", ["0.png,a,,", "copy.png,b,,", "1.png,c,,"])
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    assert side(folder).twins == 2


def test_notes_name_no_patient_and_no_file(tmp_path: Path) -> None:
    dicom(tmp_path / "Meyer", widened(smooth_film(1), 12), 12, PatientID="Meyer77")
    dicom(tmp_path / "Huber", widened(smooth_film(2), 12), 12, PatientID="Huber78", PatientAge="045Y", PatientSex="F")
    (tmp_path / "list.csv").write_text("who\nMeyer\n")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    found = side(tmp_path)
    assert (found.patients, found.known_patients, found.ages, found.sexes) == (2, True, 1, 1)
    assert not any(name in note for note in found.notes for name in ("Meyer", "Huber"))
    assert any("1 hidden files, 1 tables and texts" in note for note in found.notes)
    assert any("scaling is not declared" in note for note in found.notes)
    assert not any("cannot be read" in note for note in found.notes)


def test_headers_that_do_not_tell_patients_apart_are_not_used(tmp_path: Path) -> None:
    for i in range(3):
        dicom(tmp_path / f"{i}", widened(smooth_film(i), 12), 12, PatientID="ANON")
    found = side(tmp_path)
    assert (found.patients, found.known_patients) == (3, False)
    dicom(tmp_path / "0", widened(smooth_film(0), 12), 12, PatientID="")
    dicom(tmp_path / "1", widened(smooth_film(0), 12), 12, PatientID="P7")
    assert (side(tmp_path).patients, side(tmp_path).known_patients) == (3, False)


def test_headers_are_not_held_against_anybody(tmp_path: Path) -> None:
    for i in range(3):
        dicom(tmp_path / f"{i}", widened(smooth_film(i), 12), 12, PatientID=f"P{i}", PatientAge="ABCD", PatientSex="?")
    found = side(tmp_path)
    assert (found.faults, found.patients, found.ages, found.sexes) == ((), 3, 0, 0)
    assert any("that cannot be read" in note for note in found.notes)
    dicom(tmp_path / "0", widened(smooth_film(0), 12), 12, PatientID="Anonymous")
    assert not side(tmp_path).known_patients


@pytest.mark.parametrize(
    ("sexes", "known"),
    [("MFO", 2), ("MWD", 2), ("MHH", 2), ("DUU", 0), ("1FM", 2), ("MM", 2)],
    ids=lambda value: str(value),
)
def test_sexes_of_headers_are_those_that_dicom_defines(tmp_path: Path, sexes: str, known: int) -> None:
    for i, sex in enumerate(sexes):
        dicom(tmp_path / f"{i}", widened(smooth_film(i), 12), 12, PatientID=f"P{i}", PatientSex=sex)
    found = side(tmp_path)
    assert (found.faults, found.sexes) == ((), known)
    unread = sexes in ("MHH", "1FM")  # M beside H may be a woman, and is not guessed; a number says nothing
    assert any("that cannot be read" in note for note in found.notes) is unread
    assert not any("M and no other" in note for note in found.notes)


class Ticking:
    """A clock that moves a second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_decoding_ends_with_its_time_and_what_looks_damaged_comes_first(tmp_path: Path) -> None:
    for i in range(40):
        png(tmp_path / f"{i:02d}.png", smooth_film(i))
    (tmp_path / "39.png").write_bytes((tmp_path / "39.png").read_bytes()[:-30])
    found = side(tmp_path, pace=Pace(Meter(20.0, None, clock=Ticking())))
    assert 0 < found.decoded < 20
    assert found.seconds <= 22.0
    assert counted(found.faults) == (("unreadable", 1),)
    assert any(f"{found.decoded} of 40 films were decoded" in note for note in found.notes)
    assert side(tmp_path, pace=Pace(Meter(0.0, None, clock=Ticking()))).decoded == 0
    assert side(tmp_path, pace=Pace(Meter(None, None, clock=Ticking()))).decoded == 39


def test_the_end_of_the_time_is_as_good_as_another_draw(tmp_path: Path) -> None:
    """Whom it reaches does not depend on names."""

    def reached(folder: Path, order: list[int]) -> list[bytes]:
        folder.mkdir()
        for name, film in enumerate(order):
            png(folder / f"{name:02d}.png", smooth_film(film))
        found = side(folder, pace=Pace(Meter(15.0, None, clock=Ticking())))
        assert 0 < found.decoded < 30
        return [thumb.tobytes() for thumb in found.thumbs]

    assert reached(tmp_path / "a", list(range(30))) == reached(tmp_path / "b", list(range(29, -1, -1)))
