"""The preflight says beforehand that strata tell the cohorts apart."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from reid_audit.audit.preflight.films import of_strata
from reid_audit.cohort import CohortSurvey, Source, survey


def surveyed(folder: Path, sites: list[str], strata: tuple[str, ...]) -> CohortSurvey:
    folder.mkdir()
    rng = np.random.default_rng(len(str(folder)))
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "patient_id", "site"))
        for number, site in enumerate(sites):
            Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{number}.png")
            table.writerow((f"{number}.png", f"{folder.name}{number}", site))
    return survey(Source(folder, strata=strata), role="training")


def test_sites_of_one_cohort_alone_are_a_fault(tmp_path: Path) -> None:
    training = surveyed(tmp_path / "training", ["A"] * 12, ("site",))
    others = surveyed(tmp_path / "others", ["B"] * 11 + ["A"], ("site",))
    (found,) = of_strata({"reference": training, "holdout": others})
    assert found.kind == "fault"
    assert "--strata" in found.text
    assert not list(of_strata({"reference": training, "holdout": training}))
    assert not list(of_strata({"reference": training}))


def test_without_strata_there_is_nothing_to_say(tmp_path: Path) -> None:
    training = surveyed(tmp_path / "training", ["A"] * 3, ())
    others = surveyed(tmp_path / "others", ["B"] * 3, ())
    assert not list(of_strata({"reference": training, "holdout": others}))
