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
from reid_audit.report.evidence import (
    DemographicRow,
    Evidence,
    PatientScore,
    png_uri,
    render_evidence,
    write_evidence,
)


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
    assert render_evidence(Evidence("0" * 64, "pass")).count("None in this run.") == 4


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
