"""The restricted page: complete, offline, and readable by its owner alone."""

from __future__ import annotations

import base64
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from planted import PATIENTS, evidence, film, png

from reid_audit.records import Metric
from reid_audit.report.evidence import DemographicRow, Evidence, MatchRow, Nearest, PatientScore
from reid_audit.report.evidence_pages import anchor, png_uri, render_evidence, render_patients, write_evidence


def test_shows_pairs_grids_and_tables() -> None:
    shown = evidence()
    text = render_evidence(shown)
    for pair in shown.pairs:
        assert base64.b64encode(pair.reconstruction).decode() in text
        assert base64.b64encode(pair.match).decode() in text
        assert f"SSIM {pair.ssim:.3f}, NN {pair.nn:.3f}" in text
    for patient in PATIENTS:
        assert patient in text
    assert "F 61\u00a0% → M 98\u00a0%" in text
    assert text.index("Restricted: this page shows films of patients") < text.index("Reconstruction and nearest match")
    table = text[text.index('<h2 id="patients"') :]
    assert table.index(PATIENTS[0]) < table.index(PATIENTS[1]), "re-identified patients come first"


def scored(*breaches: Metric) -> list[str]:
    """The order of four patients: one drawn, one recognised, one with a high membership score, one of the hold-out."""
    patients = (
        PatientScore("other", False, 0.9, 0.5, 0.99, membership_p=0.002),
        PatientScore("near", True, 0.5, 0.3, 0.6, membership_p=0.01),
        PatientScore("known", True, 0.1, 0.9, 0.8, recognised=True, membership_p=0.001),
        PatientScore("drawn", True, 0.4, 0.003, 0.1, reidentified=True, membership_p=0.7),
    )
    text = render_evidence(replace(evidence(), patients=patients, breaches=breaches))
    table = text[text.index('<h2 id="patients"') :]
    assert re.findall(r'<strong class="breach">([^<]*)', table) in (
        ["re-identified", "recognised"],
        ["recognised", "re-identified"],
    )
    assert table.count('class="training exposed"') == 2
    assert "exposed 2</label>" in table
    assert "hold-out 1</label>" in table
    return re.findall(r'<th scope="row"[^>]*>([^<]*)', table)


def test_patients_are_sorted_by_what_failed_the_model() -> None:
    assert scored(Metric.MEMBERSHIP_TPR) == ["known", "drawn", "other", "near"]
    assert scored(Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR) == ["drawn", "known", "other", "near"]
    assert scored() == ["drawn", "known", "other", "near"]


def test_lets_only_data_images_in() -> None:
    text = render_evidence(evidence())
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    assert "<script" not in text
    assert "noindex" in text


def test_an_empty_record_still_renders() -> None:
    assert render_evidence(Evidence("0" * 64, "pass")).count("None in this run.") == 5


def test_names_are_escaped() -> None:
    shown = evidence()
    pair = replace(shown.pairs[0], patient_id='"><script>x</script>')
    assert "<script>x" not in render_evidence(replace(shown, pairs=(pair,)))


def test_owner_alone_may_read(tmp_path: Path) -> None:
    path = write_evidence(evidence(), tmp_path / "restricted")
    assert path.name == "evidence.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["evidence.html"]
    assert write_evidence(evidence(), tmp_path / "restricted") == path


def with_sections() -> Evidence:
    """Two patients with a section, one without."""
    first = PatientScore(
        PATIENTS[0], True, 0.41, 0.003, 0.93, reidentified=True, films=(png(film(1)), png(film(2))), more_films=4,
        nearest=(Nearest("R001", 1), Nearest("R000", 7)),
    )  # fmt: skip
    second = PatientScore(PATIENTS[1], False, 0.12, 0.6, films=(png(film(3)),), nearest=(Nearest("R000", 3),))
    return replace(
        evidence(),
        patients=(second, first, PatientScore("third", False, 0.1)),
        identification=(MatchRow("match space", 1, 0.5, 0.02),),
        reconstructions={"R000": png(film(40)), "R001": png(film(41))},
    )


def test_each_patient_has_a_section_with_films_reconstructions_and_ranks() -> None:
    text = render_patients(with_sections())
    assert re.findall(r'<article class="([^"]*)"', text) == ["patient training exposed", "patient holdout"]
    assert text.index(PATIENTS[0]) < text.index(PATIENTS[1])
    for image in (*(film(i) for i in (1, 2, 3)), film(40), film(41)):
        assert text.count(base64.b64encode(png(image)).decode()) == 1, "each image is in the page once"
    assert re.findall(r"R\d+, rank \d+", text) == ["R001, rank 1", "R000, rank 7", "R000, rank 3"]
    assert "4 more not shown" in text
    assert "Shown are the first 2" in text
    assert "2\u00a0% of them have it, 50\u00a0% of the training patients" in text
    assert "<script" not in text
    assert "Restricted: this page shows films of patients" in text


def test_the_table_of_scores_leads_to_the_sections() -> None:
    shown = with_sections()
    text = render_evidence(shown)
    assert re.findall(r'href="patients.html#([^"]*)"', text) == [anchor(PATIENTS[0]), anchor(PATIENTS[1])]
    assert all(f'id="{anchor(p)}"' in render_patients(shown) for p in PATIENTS[:2])
    assert re.fullmatch(r"p-[0-9a-f]+", anchor('"><script>'))


def test_sections_are_written_beside_the_evidence_for_the_owner_alone(tmp_path: Path) -> None:
    folder = write_evidence(with_sections(), tmp_path / "restricted").parent
    assert sorted(p.name for p in folder.iterdir()) == ["evidence.html", "patients.html"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}


def test_only_png_is_taken() -> None:
    assert png_uri(png(film(1))).startswith("data:image/png;base64,iVBOR")
    with pytest.raises(ValueError, match="PNG"):
        png_uri(b"GIF89a")


def test_errors_of_a_row() -> None:
    row = DemographicRow("r", "p", 61.0, None, 63.5, "F", "", "M")
    assert row.age_error == 2.5
    assert row.sex_correct is False
    assert row.age_error_nearest is None
    assert row.sex_correct_nearest is None
    seen = replace(row, age_nearest=60.0, sex_nearest="M")
    assert seen.age_error_nearest == 3.5
    assert seen.sex_correct_nearest is True
    assert DemographicRow("r", "p").age_error is None
    assert DemographicRow("r", "p").sex_correct is None
