"""One table of what speed was promised and what is had, as ratios within one run: ``make bench``.

    python -m benchmarks.bench --data ../shared/data/nih_cxr14 [--only ssim] [--doc docs/performance.md]

On one thread and on the processor's clock, so that what else runs on the machine matters little. What is compared with
something else runs beside it in the same process, except for the attack's step, whose loops have a process each
(benchmarks/step.py). Without ``--data`` the step is left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.lab.generated import write_films
from benchmarks.lab.pages import Row, publish
from reid_audit.cohort import FilmStore, Frame, Source, stored_cohort
from reid_audit.preprocess import HALF
from reid_audit.records import PreprocessSpec
from reid_audit.score.similarity import Local, fit_match_space, match_scores

HEAD = ("what", "beside", "ratio or time", "goal", "met")
SIDE, IMAGES, FILMS = 128, 16, 256
"""Of the SSIM table; its cost grows with the pairs, so that a part of 256 x 10,000 says it."""
LOOP = 200
"""Pairs of the loop that it is compared with."""
BLOCK = 16
"""Films whose moments fit into a processor's cache."""
RECONSTRUCTIONS, GALLERY, MATCH_SIDE = 256, 10_000, 64
STORED, STORED_SIDE = 400, 224
READY, EVERY = 30.0, 112_120
"""Seconds in which a second run on so many films should be ready."""
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One promise."""

    what: str
    beside: str
    value: float
    goal: float
    unit: str = "x"
    more_is_better: bool = False

    def row(self) -> Row:
        """Of the table."""
        met = self.value >= self.goal if self.more_is_better else self.value <= self.goal
        sign = ">=" if self.more_is_better else "<="
        return (
            self.what,
            self.beside,
            f"{self.value:.3g} {self.unit}",
            f"{sign} {self.goal:.2g}",
            "yes" if met else "no",
        )


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The shortest of some times on the processor's clock, after one for warmth."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def films(count: int, side: int, seed: int) -> Tensor:
    """[count, 1, side, side] smooth random fields."""
    noise = np.random.default_rng(seed).standard_normal((count, 1, side, side), dtype=np.float32)
    return torch.from_numpy((0.5 + 2.0 * ndimage.gaussian_filter(noise, (0, 0, 3, 3))).clip(0, 1))


def ssim(_: argparse.Namespace) -> Iterator[Line]:
    """All pairs of two stacks beside a loop over scikit-image, and how far they are from it."""
    from skimage.metrics import structural_similarity

    ours, gallery = films(IMAGES, SIDE, 0), films(FILMS, SIDE, 1)
    pairs = [(k % IMAGES, k % FILMS) for k in range(LOOP)]
    left, right = ours[:, 0].double().numpy(), gallery[:, 0].double().numpy()

    def loop() -> list[float]:
        return [
            structural_similarity(left[i], right[j], gaussian_weights=True, data_range=1.0)  # type: ignore[no-untyped-call]
            for i, j in pairs
        ]

    def table() -> Tensor:
        known, blocks = Local.of(ours), [Local.of(part) for part in torch.split(gallery, BLOCK)]
        return torch.stack([torch.cat([known[i : i + 1].ssim(part) for part in blocks]) for i in range(IMAGES)])

    ratio = (seconds(loop, 1) / LOOP) / (seconds(table) / (IMAGES * FILMS))
    apart = max(abs(float(table()[i, j]) - value) for (i, j), value in zip(pairs, loop(), strict=True))
    yield Line(f"SSIM of a pair, {SIDE} px, moments included", "scikit-image's loop", ratio, 50, "x as fast", True)
    yield Line("SSIM, largest difference", "scikit-image", apart, 1e-6, "")


def match(_: argparse.Namespace) -> Iterator[Line]:
    """Embedding and searching all pairs beside a product of matrices."""
    side = 1024
    square = torch.rand(side, side)
    rate = 2 * side**3 / seconds(lambda: square @ square)
    space = fit_match_space(films(600, MATCH_SIDE, 2))
    made, gallery = films(RECONSTRUCTIONS, MATCH_SIDE, 3), films(GALLERY, MATCH_SIDE, 4)
    axes, pixels = space.axes.shape
    work = 2 * axes * (pixels * (RECONSTRUCTIONS + GALLERY) + RECONSTRUCTIONS * GALLERY)
    share = work / seconds(lambda: match_scores(space, made, gallery)) / rate
    name = f"match search, {RECONSTRUCTIONS} x {GALLERY:,}, {MATCH_SIDE} px"
    yield Line(name, "the rate of a matrix product", share, 0.8, "of it", True)


def step(options: argparse.Namespace) -> Iterator[Line]:
    """The attack's step and its way to the plain loop's energy."""
    if options.data is None:
        return
    out = options.out / "step.json"
    line = ["--data", str(options.data), "--out", str(out), "--steps", str(options.steps)]
    subprocess.run([sys.executable, "-m", "benchmarks.step", *line], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text(encoding="utf-8"))
    yield Line("a step of the attack, ResNet-18, 64 px", "the plain loop's", found["step_ratio"], 0.33)
    cost = float("inf") if found["with_measuring"] is None else found["with_measuring"]
    yield Line(f"evidence of {options.steps} plain steps, measuring the metric included", "the plain loop", cost, 0.15)


def start(options: argparse.Namespace) -> Iterator[Line]:
    """The processor's seconds of the shortest commands, each in a process of its own."""
    import torchvision
    from safetensors.torch import save_file

    path = options.out / "resnet50.safetensors"
    if not path.is_file():
        save_file(torchvision.models.resnet50().state_dict(), path)
    size = path.stat().st_size / 1e6
    yield Line("`reid-audit --help`", "-", command("--help"), 0.3, "s")
    yield Line(f"`reid-audit inspect` of {size:.0f} MB", "-", command("inspect", str(path)), 3.0, "s")


def command(*words: str) -> float:
    """The fewest seconds of the processor that ``reid-audit`` with these words took."""
    found = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "reid_audit", *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(found)


def store(options: argparse.Namespace) -> Iterator[Line]:
    """Films from a store that is full beside those of an empty one."""
    source = Source(write_films(options.out / "films", STORED).resolve(), {"split": "target"})
    frame = Frame(PreprocessSpec(mean=HALF.mean, std=HALF.std), STORED_SIDE)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            began = time.process_time()
            count = len(stored_cohort(source, frame, "reference", FilmStore(Path(folder))).images)
            took = time.process_time() - began
    name = f"a film from a full store, {STORED_SIDE} px"
    yield Line(name, "-", 1000 * took / count, 1000 * READY / EVERY, "ms")


PARTS = {"ssim": ssim, "match": match, "start": start, "store": store, "step": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--steps", type=int, default=100, help="of the plain loop that the attack is compared with")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/bench"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for name in options.only:
        for line in PARTS[name](options):
            rows.append(line.row())
            print(" | ".join(rows[-1]), flush=True)
    publish(HEAD, rows, options.doc, keys=1, mark="bench")


if __name__ == "__main__":
    main()
