"""The example pages: one for each verdict, and a restricted page of procedural films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import results
from PIL import Image, ImageFilter
from planted import png

from reid_audit.demo.phantom import phantom_cohort
from reid_audit.records import AuditResult, Metric, ReportFields
from reid_audit.report import publish, render
from reid_audit.report.compare import compare
from reid_audit.report.compare_pages import render_html
from reid_audit.report.evidence import DemographicRow, Evidence, GridCell, MatchRow, Nearest, Pair, PatientScore
from reid_audit.report.evidence_pages import render_evidence, render_patients

EXAMPLES = {
    "pass": results.passing,
    "fail": results.failing,
    "inconclusive": results.demoted,
    "screening": results.screening,
    "several-networks": results.several,
    "not-audited": results.not_audited,
}


def write_pages(folder: Path) -> dict[str, Path]:
    """Every example below ``folder``, by name."""
    texts = {name: render(publish(example()), "html") for name, example in EXAMPLES.items()}
    texts["data-protection"] = render(publish(declared(results.failing())), "data-protection")
    texts["evidence"] = render_evidence(phantom_evidence())
    texts["patients"] = render_patients(phantom_evidence())
    texts["compare"] = render_html(compare(publish(results.passing()), publish(results.failing())))
    written = {}
    for name, text in texts.items():
        written[name] = folder / f"{name}.html"
        written[name].write_text(text, encoding="utf-8")
    return written


def declared(result: AuditResult) -> AuditResult:
    """``result`` under a policy that says who and what it is about."""
    about = ReportFields(
        model="Chest triage 2",
        weights="triage-2.safetensors",
        controller="University hospital, department of radiology",
        purpose="Weights beside a paper, for any reader",
        training_data="Chest films 2019 to 2023",
        holdout_data="Chest films 2024",
        auditor="A. Muster, privacy team",
        sign_off=("Data protection officer", "Head of radiology"),
    )
    return result.model_copy(update={"policy": result.policy.model_copy(update={"report": about})})


def phantom_evidence(count: int = 8) -> Evidence:
    """A restricted page whose films are drawn by a program and whose reconstructions are those films, blurred."""
    films = phantom_cohort(3 * count, side=64, seed=5, role="reference", films=(1, 1))
    images = (films.images[:, 0].numpy() * 255).astype(np.uint8)
    match, original, tuned = images[:count], images[count : 2 * count], images[2 * count :]
    names = [f"phantom-{i:03d}" for i in range(count)]
    pairs = tuple(
        Pair(png(_soft(film, 1.2, i)), png(film), 0.61 - 0.02 * i, 0.42 - 0.02 * i, f"R{i:03d}", name, i % 4 != 3)
        for i, (film, name) in enumerate(zip(match, names, strict=True))
    )
    grid = tuple(
        GridCell(png(_soft(a, 2.5, i)), png(_soft(b, 1.2, i)), "class 0", "class 1", 0.61, 0.98 - 0.02 * i)
        for i, (a, b) in enumerate(zip(original, tuned, strict=True))
    )
    rows = tuple(
        DemographicRow(f"R{i:03d}", name, 61.2 + i, 59.0 + i, 63 - i, "FM"[i % 2], "FM"[i % 2], "FMM"[i % 3])
        for i, name in enumerate(names)
    )
    scores = tuple(
        PatientScore(
            name,
            i % 4 != 3,
            linkage=0.41 - 0.03 * i,
            linkage_p=0.003 + 0.02 * i**2,
            membership=0.93 - 0.1 * i,
            reidentified=i < 2,
            recognised=i < 2,
            membership_p=0.0026 * (1 + i**2),
            nearest=tuple(Nearest(f"R{(i + k) % count:03d}", 1 + 7 * k) for k in range(3)),
            films=(png(match[i]), png(original[i])),
            more_films=i % 3,
        )
        for i, name in enumerate(names)
    )
    failed = (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR)
    shown = Evidence("4f9a1c" * 10 + "4f9a", "fail", pairs, grid, rows, scores, breaches=failed)
    return replace(
        shown,
        identification=(MatchRow("match space", 1, 0.75, 0.02), MatchRow("match space", 5, 0.81, 0.09)),
        reconstructions={pair.reconstruction_id: pair.reconstruction for pair in pairs},
    )


def _soft(film: np.ndarray, radius: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, film.shape)
    blurred = np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(radius)), dtype=float)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)
