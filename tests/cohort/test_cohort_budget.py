"""Reading ends with its time: whole patients, by nothing that is known of them, and those left out are counted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_audit.budget import Meter
from reid_audit.cohort import Cohort, Frame, Source, load_cohort
from reid_audit.observer import Event, StageAdvanced
from reid_audit.preprocess import UNIT


class Reading:
    """A second for each film that is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def notice(self, event: Event) -> None:
        self.now += isinstance(event, StageAdvanced)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """20 films of 10 patients, theirs not side by side."""
    with (tmp_path / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "patient_id"])
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 256, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
            writer.writerow([f"{i}.png", f"P{i % 10}"])
    return tmp_path


def read(films: Path, seconds: float | None) -> Cohort:
    time = Reading()
    meter = Meter(seconds, None, clock=time)
    return load_cohort(Source(films), Frame(UNIT, 16, observer=time, meter=meter), "holdout")


def test_with_time_enough_every_film_is_read_as_without_a_ceiling(films: Path) -> None:
    short, free = read(films, 100.0), read(films, None)
    assert short.unread == free.unread == 0
    assert short.summary == free.summary
    assert short.notes == free.notes


def test_patients_are_read_whole_or_not_at_all(films: Path) -> None:
    found = read(films, 7.0)
    people, counts = np.unique(found.patients, return_counts=True)
    assert counts.tolist() == [2] * len(people) == [2, 2, 2, 2]
    assert found.unread == 6
    assert found.summary.patients == 4
    assert len(found.images) == len(found.patients)
    assert "no time to read the films of 6 of 10 patients, chosen by chance" in found.notes
    assert not any(patient in note for note in found.notes for patient in found.patients)
    assert set(people) <= set(read(films, 11.0).patients)


def test_two_patients_are_read_however_little_time_there_is(films: Path) -> None:
    for seconds in (0.0, 1.0):
        found = read(films, seconds)
        assert (found.summary.patients, found.unread) == (2, 8)
