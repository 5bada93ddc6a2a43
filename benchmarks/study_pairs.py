"""The study's pictures of pairs in a version that may be published: no film in them is of a person.

    python -m benchmarks.study_pairs --picture docs/study-pairs.png

A ResNet-18 learns one generated film each of 20 phantom patients by heart, as the overfit CNN of benchmarks/study.py
does with real ones, and the same code attacks it, with `moments` and a prior of other phantom patients. Above, the
reconstructions that match a patient best, each beside that patient's film; below, the same of samples that were made
without the network. Minutes on one core.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.lab.targets import Bench
from benchmarks.study import FEW, QUICK, SIDE, Cell, Workshop, attack, target_of
from reid_audit.attack.interface import Reconstruction
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.audit.evidence import Terms, compare
from reid_audit.audit.restricted import pairs
from reid_audit.demo.phantom import phantom_cohort
from reid_audit.records import Measured, Metric, Policy, find
from reid_audit.report.evidence import Pair
from reid_audit.score.comparison import Comparison

CELL = Cell("overfit CNN", "moments", 0)
OTHERS, PUBLIC = 200, 400
"""Phantom patients of the hold-out, and of the prior."""
SHOWN, EDGE, GAP, CAPTION, LETTERS = 6, 96, 12, 34, 13
"""Pairs in a row; pixels of a picture, between pairs, below them, and of the letters."""
TITLES = (
    "Drawn from the weights, and the film of the patient",
    "Drawn without the network, and the film nearest to it",
)


def phantoms() -> Bench:
    """Generated films in the place of real ones."""
    one = (1, 1)
    target = phantom_cohort(FEW, side=SIDE, seed=401, role="reference", films=one)
    holdout = phantom_cohort(OTHERS, side=SIDE, seed=402, role="holdout", films=one)
    prior = phantom_cohort(PUBLIC, side=SIDE, seed=403, role="reference", films=one)
    return Bench.of(target, holdout, prior)


def matched(shop: Workshop, made: Reconstruction, control: Reconstruction, compared: Comparison) -> Sequence[Pair]:
    """The patients that stand out most, each with the reconstruction that matches them best; prints what is linked."""
    bench, task = shop.bench, shop.task(CELL, QUICK)
    found = compare(task, compared, bench.prior.images, made, control, Terms(0, Policy().level))
    for metric in (Metric.LINKAGE_AUC, Metric.LINKAGE_P, Metric.REIDENTIFIED_PATIENTS):
        one = find(found.measurements, metric)
        print(f"{metric.value}: {one.value:.4g}" if isinstance(one, Measured) else f"{metric.value}: not measured")
    return pairs(bench.match, found, made)[:SHOWN]


def first(made: Reconstruction, count: int) -> Reconstruction:
    """Its first images."""
    parts = {name: getattr(made, name)[:count] for name in ("images", "energies", "hypotheses")}
    return replace(made, **parts)


def drawn(rows: Sequence[Sequence[Pair]]) -> Image.Image:
    """A row of pairs below each of ``TITLES``."""
    width, height = 2 * EDGE + GAP, EDGE + CAPTION
    sheet = Image.new("L", (GAP + SHOWN * width, len(rows) * (height + CAPTION)), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    for place, (title, row) in enumerate(zip(TITLES, rows, strict=True)):
        top = place * (height + CAPTION)
        pen.text((GAP, top + GAP), title, fill=0, font=font)
        for column, pair in enumerate(row):
            left, below = GAP + column * width, top + CAPTION
            for side, png in enumerate((pair.reconstruction, pair.match)):
                sheet.paste(Image.open(io.BytesIO(png)).convert("L").resize((EDGE, EDGE)), (left + side * EDGE, below))
            whose = "training" if pair.member else "hold-out"
            pen.text((left, below + EDGE + 4), f"SSIM {pair.ssim:.2f}, NN {pair.nn:.2f}, {whose}", fill=0, font=font)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/phantoms"), help="where weights are kept")
    options = parser.parse_args()
    shop = Workshop(phantoms(), options.out, torch.device("cpu"))
    found = attack(CELL.method, shop.task(CELL, QUICK), CELL.seed)
    bench = shop.bench
    compared = both_cohorts(bench.members(target_of(CELL.kind, CELL.seed)), bench.holdout, bench.match)
    alone = first(found.control, len(found.made.images))
    rows = [matched(shop, made, found.control, compared) for made in (found.made, alone)]
    drawn(rows).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
