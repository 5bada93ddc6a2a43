"""The page on training labels: its programs make tables of CheXpert and MIMIC-CXR that its commands can name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_audit.cohort import Source, parse_source, survey
from reid_audit.cohort.findings import marks_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "labels.md").read_text(encoding="utf-8")
CHEXPERT, MIMIC = re.findall(r"```python\n(.+?)```", PAGE, re.S)
NAMES = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip


def film(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)


def named(table: str) -> tuple[str, dict[str, str], str]:
    """The training source of the page's command for ``table``, its filter without the split, and its labels."""
    command = next(text for text in re.findall(r"```sh\n(.+?)```", PAGE, re.S) if table in text)
    _, where = parse_source(re.findall(r'--reference "(.+?)"', command)[0])
    return (
        table,
        {key: value for key, value in where.items() if key != "split"},
        re.findall('--label "(.+?)"', command)[0],
    )


def test_chexpert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *NAMES))]
    for number, view in ((1, "Frontal"), (1, "Lateral"), (2, "Frontal")):
        path = f"CheXpert-v1.0-small/train/patient0000{number}/study1/view_{view}.jpg"
        film(tmp_path / path, len(lines))
        lines.append(f"{path},Female,68,{view},AP,1.0,,,,,-1.0,,,0.0,,,,,1.0")
    (tmp_path / "CheXpert-v1.0-small" / "train.csv").write_text("\n".join(lines) + "\n")
    exec(CHEXPERT)  # the page's own words
    table, where, label = named("chexpert.csv")
    found = survey(Source(tmp_path / table, where, label=label), role="reference")
    assert found.faults == ()
    assert (found.films, found.people, found.ages) == (2, ("patient00001", "patient00002"), 2)
    assert marks_of(word for word, _ in found.labels) == ["+....?..-....+"]


def test_mimic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["dicom_id,subject_id,study_id,ViewPosition,Rows"]
    for place, (study, view) in enumerate((("50000001", "PA"), ("50000001", "LATERAL"), ("50000002", "AP"))):
        film(tmp_path / "files" / "p10" / "p10000032" / f"s{study}" / f"d{place}.jpg", place)
        lines.append(f"d{place},10000032,{study},{view},16")
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text("\n".join(lines) + "\n")
    labels = ["subject_id,study_id," + ",".join(sorted(NAMES)), "10000032,50000001,-1.0,,,,,,,,,1.0,,0.0,,"]
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv").write_text("\n".join(labels) + "\n")
    exec(MIMIC)  # the page's own words
    table, where, label = named("mimic.csv")
    found = survey(Source(tmp_path / table, where, label=label), role="reference")
    assert found.faults == ()
    assert found.people == ("10000032",), "the lateral film and the study without labels are left out"
    assert marks_of(word for word, _ in found.labels) == ["?........+.-.."]
