"""Generated films in any number, networks that hold their statistics, and what whole commands made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from benchmarks.lab.data import SPEC
from reid_audit.cohort import Frame, Source, load_cohort
from reid_audit.preprocess import to_network
from reid_audit.records import Reason

STORED = 256
"""Pixels of a side of the generated films."""
CALIBRATION = 256
"""Films whose statistics the network holds."""
PER_PATIENT = 5
"""Every fifth patient has two films."""
LATE = Reason.BUDGET.value


def smooth_films(count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Random fields of one body shape: a common coarse picture, a finer one of each film's own, and noise."""
    common = rng.normal(0.0, 40.0, (6, 6))
    for _ in range(count):
        coarse = Image.fromarray((110 + common + rng.normal(0.0, 18.0, (6, 6))).astype(np.float32))
        fine = Image.fromarray(rng.normal(0.0, 12.0, (24, 24)).astype(np.float32))
        field = np.asarray(coarse.resize((STORED, STORED), Image.Resampling.BICUBIC)) + np.asarray(
            fine.resize((STORED, STORED), Image.Resampling.BICUBIC)
        )
        grain = rng.normal(0.0, 2.0, (STORED, STORED))
        yield Image.fromarray((field + grain).clip(0, 255).astype(np.uint8))


def write_films(folder: Path, count: int) -> Path:
    """A manifest of ``count`` generated films, patients dealt out to the two splits at random."""
    manifest = folder / f"films-{count}.csv"
    if manifest.is_file():
        return manifest
    rng = np.random.default_rng(count)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    owners = [person for person in range(count) for _ in range(2 if person % PER_PATIENT == 0 else 1)][:count]
    training = rng.permutation(np.arange(owners[-1] + 1) % 2 == 0)
    ages, sexes = rng.integers(20, 90, len(training)), rng.integers(0, 2, len(training))
    rows = []
    for number, (person, picture) in enumerate(zip(owners, smooth_films(count, rng), strict=True)):
        name = f"images/{count}_{number:05d}.png"
        picture.save(folder / name)
        split = "target" if training[person] else "holdout"
        rows.append([name, f"G{count}-{person:05d}", ages[person], "MF"[sexes[person]], split])
    draft = manifest.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["path", "patient_id", "age", "sex", "split"], *rows])
    draft.replace(manifest)
    return manifest


def write_network(path: Path, manifest: Path, side: int, make: Callable[[], nn.Module], *, batches: int = 20) -> Path:
    """Random weights of ``make``, and statistics of the training films at ``side`` pixels after so many batches."""
    if path.is_file():
        return path
    torch.manual_seed(0)
    module = make().train()
    films = load_cohort(Source(manifest, {"split": "target"}), Frame(SPEC, side), "reference").images
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(batches):
            rows = torch.randint(len(films), (16,), generator=generator)
            module(to_network(films[rows], SPEC, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(module.state_dict(), path)
    return path


def outcome(report: Path) -> dict[str, Any]:
    """Verdict and what was made smaller, from the newest ``report.json`` below ``report``."""
    written = sorted(report.rglob("report.json"), key=lambda path: path.stat().st_mtime)
    if not written:
        return {"verdict": "none", "smaller": [], "late": []}
    document = json.loads(written[-1].read_text(encoding="utf-8"))
    smaller = [f"{entry['stage']} {entry['done']}/{entry['of']}" for entry in document["budget"].get("reduced", ())]
    late = [entry["metric"] for entry in document["measurements"] if entry.get("reason") == LATE]
    return {"verdict": document["verdict"]["outcome"], "smaller": smaller, "late": late}
