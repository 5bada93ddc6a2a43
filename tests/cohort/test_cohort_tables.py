"""Tables as hospitals write them: ages, sexes and ids in their spellings, and every habit of spreadsheets."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from film_writers import smooth_film
from PIL import Image

from reid_audit.cohort import Frame, Source, load_cohort, overlap, tabletext
from reid_audit.cohort.cells import read_age, spelling
from reid_audit.cohort.sexes import column_of, read_sex
from reid_audit.cohort.source import Row, list_rows
from reid_audit.errors import CohortError
from reid_audit.preprocess import UNIT


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Four films, two of them in a folder ``images``."""
    (tmp_path / "images").mkdir()
    for i, name in enumerate(("a.png", "b.png", "images/c.png", "images/d.png")):
        Image.fromarray(smooth_film(i)).save(tmp_path / name)
    return tmp_path


def rows(folder: Path, text: str | bytes) -> tuple[Row, ...]:
    table = folder / "list.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list_rows(table).rows


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("Image Index,Finding Labels,Patient ID,Patient Age,Patient Sex", "b.png,Mass|Edema,7,058Y,F"),  # NIH
        ("Path,Sex,Age,patient_id", "b.png,Female,58,7"),  # CheXpert
        ("ImageID,PatientID,PatientSex_DICOM,age,Labels", "b.png,7,F,58,\"['mass', 'edema']\""),  # PadChest
        ("lesion_id,image_id,dx,age,sex,subject", "HAM_1,b,nv,58.0,female,7"),  # HAM10000
        ("image_name,patient_id,sex,age_approx", "b,7,female,58"),  # ISIC 2020
        ("subject_id,study_id,img_path,gender,age", "7,1,b.png,F,58"),
    ],
)
def test_columns_of_public_data_sets(films: Path, head: str, row: str) -> None:
    (found,) = rows(films, f"{head}\n{row}\n")
    assert (found.path, found.patient, found.age, found.sex) == (films / "b.png", "7", 58.0, "F")


def test_an_image_without_its_ending_is_found_where_one_file_has_that_name(films: Path) -> None:
    (found,) = rows(films, "image_id\nimages\\c\n")
    assert found.path == films / "images" / "c.png"
    Image.fromarray(smooth_film(9)).save(films / "images" / "c.bmp")
    with pytest.raises(CohortError, match="which does not exist"):
        rows(films, "image_id\nimages/c\n")
    with pytest.raises(CohortError, match="no image"):
        rows(films, 'image_id,note\n"",x\n')


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58.0),
        ("58.5", 58.5),
        ("58,5", 58.5),
        ("045Y", 45.0),
        ("45 y", 45.0),
        ("018M", 1.5),
        ("6 months", 0.5),
        ("006W", 42 / 365.25),
        ("010D", 10 / 365.25),
        (">89", 90.0),
        ("> 89", 90.0),
        (">=90", 90.0),
        ("90+", 90.0),
        ("90 years old", 90.0),
        ("000Y", 0.0),
    ],
)
def test_ages(text: str, years: float) -> None:
    assert read_age(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["", "nan", "N/A", "unknown", "-", ".", "None", "#N/A"])
def test_unknown_ages_and_sexes(text: str) -> None:
    assert math.isnan(read_age(text))
    assert read_sex(text, column_of([text])) == ""


@pytest.mark.parametrize("text", ["old", "414", "-1", "1945-03-02", "Y", "4 5", "999Y", "<18", "30-40"])
def test_ages_that_nobody_can_mean(text: str) -> None:
    with pytest.raises(CohortError, match="the age"):
        read_age(text)


@pytest.mark.parametrize(
    ("a", "b"), [("7", "0007"), ("7", "7.0"), ("0", "0000"), ("0", "0.0"), ("p7", "P7"), ("7", "７")]
)
def test_one_patient_in_two_spellings_is_refused_and_never_merged_or_split(films: Path, a: str, b: str) -> None:
    assert spelling(a) == spelling(b)
    with pytest.raises(CohortError, match=r"row 3 of list\.csv writes a patient id in another way") as refusal:
        rows(films, f"path,patient_id\na.png,{a}\nb.png,{b}\n")
    assert all(refusal.value.lines())
    sides = []
    for name, patient in (("a.png", a), ("b.png", b)):
        (films / "list.csv").write_text(f"path,patient_id\n{name},{patient}\n", encoding="utf-8")
        sides.append(load_cohort(Source(films / "list.csv"), Frame(UNIT, 32), "reference"))
    assert overlap(*sides) == 1


@pytest.mark.parametrize(("a", "b"), [("7", "70"), ("7.5", "75"), ("p07", "p7"), ("0", "O"), ("1.2.3", "1.2.30")])
def test_ids_that_are_different(films: Path, a: str, b: str) -> None:
    assert [row.patient for row in rows(films, f"path,patient_id\na.png,{a}\nb.png,{b}\n")] == [a, b]


def test_ids_stay_as_written(films: Path) -> None:
    found = rows(films, "path,patient_id\na.png,0007\nb.png,0007\nimages/c.png,0010.0\n")
    assert [row.patient for row in found] == ["0007", "0007", "0010.0"]


@pytest.mark.parametrize("text", ["", "nan", "NULL", "unknown", "Anonymous"])
def test_patients_that_nobody_knows_do_not_become_one(films: Path, text: str) -> None:
    with pytest.raises(CohortError, match=r"row 3 of list\.csv has no patient id"):
        rows(films, f"path,patient_id\na.png,p\nb.png,{text}\n")


@pytest.mark.parametrize("text", ["1.23457E+12", '"1,23457E+12"'])
def test_ids_that_a_spreadsheet_rounded_are_refused(films: Path, text: str) -> None:
    with pytest.raises(CohortError, match="rounded"):
        rows(films, f"path,patient_id\na.png,{text}\n")


TABLES: dict[str, str | bytes] = {
    "comma": "path,patient_id,age\na.png,p,45\nimages/c.png,q,50\n",
    "semicolon": "path;patient_id;age\na.png;p;45\nimages/c.png;q;50\n",
    "tab": "path\tpatient_id\tage\na.png\tp\t45\nimages/c.png\tq\t50\n",
    "bar": "path|patient_id|age\na.png|p|45\nimages/c.png|q|50\n",
    "sep line": "sep=;\r\npath;patient_id;age\r\na.png;p;45\r\nimages/c.png;q;50\r\n",
    "quoted sep line": '"sep=;"\npath;patient_id;age\na.png;p;45\nimages/c.png;q;50\n',
    "sep tab": "sep=\t\npath\tpatient_id\tage\na.png\tp\t45\nimages/c.png\tq\t50\n",
    "mark": b"\xef\xbb\xbfpath,patient_id,age\na.png,p,45\nimages/c.png,q,50\n",
    "mark and sep": b"\xef\xbb\xbfsep=,\npath,patient_id,age\na.png,p,45\nimages/c.png,q,50\n",
    "utf-16": "path,patient_id,age\na.png,p,45\nimages/c.png,q,50\n".encode("utf-16"),
    "utf-16 without mark": "path,patient_id,age\na.png,p,45\nimages/c.png,q,50\n".encode("utf-16-le"),
    "windows-1252": "path,patient_id,age,note\na.png,p,45,Größe\nimages/c.png,q,50,\n".encode("cp1252"),
    "backslashes": "path,patient_id,age\n.\\a.png,p,45\nimages\\c.png,q,50\n",
    "blank rows": "\n\npath,patient_id,age\n\na.png,p,45\n,,\n\nimages/c.png,q,50\n , \n\n",
    "quoted cells": '"path","patient_id","age"\n"a.png","p","45"\n"images/c.png", "q","50"\n',
    "delimiter in the header": '"path";"some, findings, in, all";patient_id;age\na.png;x, y;p;45\nimages/c.png;;q;50\n',
    "quoted newline": 'path,patient_id,report,age\na.png,p,"line\none\n\n",45\nimages/c.png,q,"a ""b"",\r\nc",50\n',
    "old Macintosh": "path,patient_id,age\ra.png,p,45\rimages/c.png,q,50\r",
    "short rows": "path,patient_id,age,site\na.png,p,45\nimages/c.png,q,50\n",
    "trailing delimiters": "path,patient_id,age,\na.png,p,45,,\nimages/c.png,q,50,,\n",
    "column names": "Image Index,Patient-ID, AGE \na.png,p,45\nimages/c.png,q,50\n",
    "DICOM ages": "path,patient_id,age\na.png,p,045Y\nimages/c.png,q,600M\n",
}


@pytest.mark.parametrize("habit", TABLES)
def test_one_table_in_every_habit(films: Path, habit: str) -> None:
    found = rows(films, TABLES[habit])
    assert [(row.path.name, row.patient, row.age) for row in found] == [("a.png", "p", 45.0), ("c.png", "q", 50.0)]


@pytest.mark.parametrize("name", ["films.csv.gz", "films.TSV.GZ", "films.csv"])
def test_a_table_packed_with_gzip(films: Path, name: str) -> None:
    table = films / name
    table.write_bytes(gzip.compress(b"path,patient_id,age\na.png,p,45\nimages/c.png,q,50\n"))
    assert [row.patient for row in list_rows(table, {"age": "50"}).rows] == ["q"]


def test_a_packed_table_that_never_ends_is_refused(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabletext, "LARGEST", 2**20)
    table = films / "films.csv.gz"
    table.write_bytes(gzip.compress(b"path\n" + b"a.png\n" * 2**20))
    with pytest.raises(CohortError, match="unpacks to more than 1 MiB") as refusal:
        list_rows(table)
    assert all(refusal.value.lines())


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: data[:20] + b"????" + data[24:]])
def test_a_packed_table_that_is_damaged_is_refused(films: Path, damage: Callable[[bytes], bytes]) -> None:
    table = films / "films.csv.gz"
    table.write_bytes(damage(gzip.compress(b"path,patient_id\na.png,p\nimages/c.png,q\n")))
    with pytest.raises(CohortError, match="cannot read"):
        list_rows(table)


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1", b"path\na.png\n"])
@pytest.mark.parametrize("name", ["films.xlsx", "films.XLS", "films.ods", "films.parquet", "films.csv"])
def test_a_spreadsheet_is_refused_with_what_to_do(films: Path, name: str, head: bytes) -> None:
    table = films / name
    table.write_bytes(head + bytes(200) if head[:4] != b"path" else head)
    if (name, head[:4]) == ("films.csv", b"path"):
        assert len(list_rows(table).rows) == 1
        return
    with pytest.raises(CohortError, match="is a spreadsheet") as refusal:
        list_rows(table)
    assert len(refusal.value.lines()) == 3
    assert "as CSV" in refusal.value.remedy


def test_rows_are_numbered_as_a_spreadsheet_shows_them(films: Path) -> None:
    with pytest.raises(CohortError, match=r"row 5 of list\.csv has the age old"):
        rows(films, 'sep=,\npath,patient_id,age,note\n\na.png,p,1,"two\nlines"\n,,,\nb.png,q,old,\n')


def test_a_delimiter_inside_a_cell_is_refused_and_not_misread(films: Path) -> None:
    with pytest.raises(CohortError, match=r"row 2 of list\.csv has more cells than the header"):
        rows(films, "path,finding,patient_id,age\na.png,Effusion, left,p,45\n")


def test_two_columns_of_one_name_are_refused(films: Path) -> None:
    with pytest.raises(CohortError, match="several columns age"):
        rows(films, "path,patient_id,age,age\na.png,p,45,54\n")
    with pytest.raises(CohortError, match="several columns Patient ID and patient_id"):
        rows(films, "path,Patient ID,patient_id\na.png,p,q\n")


def test_composed_and_decomposed_names_are_one(films: Path) -> None:
    (films / "a.png").rename(films / "Mu\u0308ller.png")
    assert rows(films, "path,patient_id\nM\u00fcller.png,p\n")[0].path.exists()


def test_rows_that_are_filtered_out_need_no_file(films: Path) -> None:
    (films / "list.csv").write_text("path,patient_id,split\na.png,p,x\nelsewhere.png,q,y\n")
    assert len(list_rows(films / "list.csv", {"split": "x"}).rows) == 1
    with pytest.raises(CohortError, match=r"elsewhere\.png, which does not exist"):
        list_rows(films / "list.csv")


def test_an_array_named_by_a_row_gives_all_its_films(films: Path) -> None:
    np.save(films / "stack.npy", np.stack([smooth_film(i) for i in range(5)]))
    found = rows(films, "path,patient_id\nstack.npy,p\na.png,q\n")
    assert [row.patient for row in found] == ["p"] * 5 + ["q"]


def test_all_faults_are_named_together(films: Path) -> None:
    with pytest.raises(CohortError, match=r"3 faults in .*: 2 ages that cannot be read, 1 rows whose image") as refusal:
        rows(films, "path,patient_id,age\na.png,p,old\nb.png,q,older\ngone.png,r,5\n")
    assert "row 2" in refusal.value.closest
    assert all(refusal.value.lines())
