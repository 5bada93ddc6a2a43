"""Sexes in the languages of hospitals: read where the column says what a letter means, refused where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from film_writers import smooth_film
from PIL import Image

from reid_audit.cohort.sexes import M_ALONE, column_of, read_sex
from reid_audit.cohort.source import collect, list_rows
from reid_audit.errors import CohortError


def read(*cells: str) -> list[str]:
    column = column_of(cells)
    return [read_sex(cell, column) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "sexes"),
    [
        (("M", "F", "O", "U", ""), ["M", "F", "", "", ""]),  # DICOM
        (("m", "w", "d"), ["M", "F", ""]),
        (("männlich", "weiblich", "divers", "unbekannt"), ["M", "F", "", ""]),
        (("Mann", "Frau", "Maennlich"), ["M", "F", "M"]),
        (("H", "F"), ["M", "F"]),
        (("Homme", "Femme", "masculin", "Féminin", "inconnu"), ["M", "F", "M", "F", ""]),
        (("M", "F", "D"), ["M", "F", ""]),
        (("hombre", "mujer", "Varón", "femenino"), ["M", "F", "M", "F"]),
        (("H", "M", "M", ""), ["M", "F", "F", ""]),  # hombre, mujer
        (("Hombre", "M"), ["M", "F"]),
        (("homem", "mulher"), ["M", "F"]),
        (("maschio", "femmina", "uomo", "donna"), ["M", "F", "M", "F"]),
        (("man", "vrouw"), ["M", "F"]),
        (("MALE", " Woman "), ["M", "F"]),
        (("fe\u0301minin",), ["F"]),
        (("M", "M", "u"), ["", "", ""]),  # all men, or in Spanish all women
        (("M", "D"), ["M", ""]),
        (("M", "male"), ["M", "M"]),
        (("H",), ["M"]),
        (("W",), ["F"]),
    ],
)
def test_sexes_of_seven_languages(cells: tuple[str, ...], sexes: list[str]) -> None:
    assert read(*cells) == sexes


@pytest.mark.parametrize(
    ("cells", "asked"),
    [
        (("0", "1"), "which code is which"),
        (("1.0", "2.0"), "which code is which"),
        (("M", "V"), "vrouw"),  # beside M a woman in Dutch, a man in Spanish
        (("V",), "varón"),
        (("D", "U"), "donna"),
        (("H", "M", "F"), "M is a woman beside H"),
        (("M", "mujer"), "M is a woman beside H"),
        (("H", "M", "weiblich"), "M is a woman beside H"),
        (("K",), "male, female"),
        (("emale",), "male, female"),
    ],
)
def test_sexes_that_the_column_leaves_open_are_refused_with_a_question(cells: tuple[str, ...], asked: str) -> None:
    with pytest.raises(CohortError, match="the sex") as refusal:
        read(*cells)
    assert asked in refusal.value.closest
    assert "M and F" in refusal.value.remedy
    assert len(refusal.value.lines()) == 3


def table(folder: Path, *sexes: str) -> Path:
    for number in range(len(sexes)):
        Image.fromarray(smooth_film(number)).save(folder / f"{number}.png")
    rows = "".join(f"{n}.png,p{n},{sex},{'ab'[n % 2]}\n" for n, sex in enumerate(sexes))
    path = folder / "films.csv"
    path.write_text(f"path,patient_id,sex,split\n{rows}", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["Geschlecht", "Sexe", "sexo", "Sesso", "geslacht", "Patient Gender"])
def test_the_column_in_other_languages(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, "M", "F")
    path.write_text(path.read_text(encoding="utf-8").replace("sex", name), encoding="utf-8")
    assert [row.sex for row in list_rows(path).rows] == ["M", "F"]


def test_rows_outside_the_filter_say_what_a_letter_means(tmp_path: Path) -> None:
    path = table(tmp_path, "M", "H", "M", "H")
    assert [row.sex for row in list_rows(path, {"split": "a"}).rows] == ["F", "F"]


def test_no_sex_that_cannot_be_read_becomes_unknown_without_a_word(tmp_path: Path) -> None:
    found = collect(table(tmp_path, "M", "V", "V"))
    assert [fault.kind for fault in found.faults] == ["sex", "sex"]


def test_an_m_that_stands_alone_is_unknown_and_said(tmp_path: Path) -> None:
    assert [row.sex for row in list_rows(table(tmp_path, "M", "", "M")).rows] == ["", "", ""]
    assert M_ALONE in list_rows(table(tmp_path, "M", "", "M")).notes
    assert M_ALONE not in list_rows(table(tmp_path, "M", "F", "M")).notes
    assert M_ALONE not in list_rows(table(tmp_path, "", "", "")).notes
