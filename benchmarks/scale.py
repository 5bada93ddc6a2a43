"""What many films cost: peak memory, time, and how soon a second run is ready, of whole audits over generated films.

    nice python -m benchmarks.scale run [--films 2000 6000] [--caches none cold warm] [--source FOLDER]
    python -m benchmarks.scale table [--doc docs/scale.md]

Films are those of benchmarks/budget.py (256 px PNG, half of them training films), seen at ``--side`` pixels by a
MobileNetV3 of random weights, which is small enough for the films' share to show. Every run is one ``reid-audit check
--method prior`` on one thread: no attack, no reference models, and everything that compares films. ``none``: no
``--cache``. ``cold``: an empty one. ``warm``: the one that ``cold`` left. The peak is the process's largest resident
set, pages of files included, less that of a process that only imports the libraries. ``--source`` runs another
checkout. Finished cases are kept in ``--out``, one JSON each, and are not run again: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from benchmarks.budget import CALIBRATION, outcome, write_films
from benchmarks.lab.pages import Row, publish
from reid_audit.cohort import load_images
from reid_audit.preprocess import HALF, to_network

NETWORK = "mobilenetv3_small_050"
POLICY = """[preprocess]
side = {side}
resize = "squash"
crop = "none"
mean = [0.5]
std = [0.5]
[controls]
attack_power = false
membership_control = false
[references]
when = "off"
"""
BARE = "import torch, timm, scipy.stats, sklearn.linear_model, reid_audit.api; print(open('/proc/self/status').read())"
READY = "match space: started"
"""The line from which on both sides are at hand."""
CACHES = ("none", "cold", "warm")
HEAD = ("films", "px", "cache", "source", "peak above the libraries", "ready after", "whole audit", "load", "verdict")


@dataclass(frozen=True, slots=True)
class Case:
    """One audit."""

    films: int
    side: int
    cache: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.source}-{self.films}-{self.side}px-{self.cache}"


@dataclass(frozen=True, slots=True)
class Watched:
    """What a process did, seen from outside."""

    peak: int
    """Bytes of the largest resident set."""
    ready: float
    """Seconds until ``READY``; NaN where it never came."""
    seconds: float
    exit_code: int
    load: float
    """Processes that ran or wanted to, this one included: the mean of the last minute, at the end."""


def write_network(path: Path, manifest: Path, side: int) -> Path:
    """Random weights, and statistics of films at ``side`` pixels."""
    if path.is_file():
        return path
    torch.manual_seed(0)
    module = timm.create_model(NETWORK, num_classes=2).train()
    films = load_images(manifest, spec=HALF, side=side, where={"split": "target"})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(40):
            rows = torch.randint(len(films), (16,), generator=generator)
            module(to_network(films[rows], HALF, 3))
    save_file(module.state_dict(), path)
    return path


def high_water(status: str) -> int:
    """Bytes of the largest resident set, from the text of /proc/PID/status."""
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(found[0].split()[1]) if found else 0


def watched(command: Sequence[str], log: Path, environment: dict[str, str]) -> Watched:
    """Run ``command``, its lines on stderr kept in ``log`` with their times."""
    peak, ready, began = 0, float("nan"), time.monotonic()
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1, env=environment
        ) as process,
    ):
        ended = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not ended.wait(0.1):
                try:
                    peak = max(peak, high_water(Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")))
                except OSError:
                    return

        sampler = threading.Thread(target=sample)
        sampler.start()
        for text in process.stderr or ():
            now = time.monotonic() - began
            kept.write(f"{now:8.2f} {text}")
            kept.flush()
            ready = now if READY in text and ready != ready else ready
        code = process.wait()
        ended.set()
        sampler.join()
    return Watched(peak, ready, time.monotonic() - began, code, os.getloadavg()[0])


def run(case: Case, out: Path, source: Path | None) -> dict[str, Any]:
    """One audit as a row; a kept row where there is one."""
    kept = out / f"{case.name}.json"
    if kept.is_file():
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    manifest = write_films(out / "films", case.films).resolve()
    calibration, side = write_films(out / "films", CALIBRATION), case.side
    network = write_network(out / f"{NETWORK}-{side}.safetensors", calibration, side)
    policy, report = out / f"policy-{side}.toml", out / "reports" / case.name
    cache = out / "cache" / f"{case.films}-{side}"
    policy.write_text(POLICY.format(side=side), encoding="utf-8")
    report.mkdir(parents=True, exist_ok=True)
    if case.cache == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    command = [
        sys.executable, "-m", "reid_audit", "check", str(network.resolve()), "--policy", str(policy.resolve()),
        "--reference", f"{manifest}?split=target", "--holdout", f"{manifest}?split=holdout", "--method", "prior",
        "--indicators-only", "--out", str(report.resolve()),
        *(() if case.cache == "none" else ("--cache", str(cache.resolve()))),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    if source is not None:
        environment["PYTHONPATH"] = str(source.resolve())
    bare = subprocess.run([sys.executable, "-c", BARE], env=environment, capture_output=True, text=True, check=True)
    found = watched(command, report / "stderr.txt", environment)
    row = {**asdict(case), **asdict(found), **outcome(report), "libraries": high_water(bare.stdout)}
    kept.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def cells(row: dict[str, Any]) -> Row:
    """One line of the table."""
    above = (row["peak"] - row["libraries"]) / 2**30
    return (
        f"{row['films']:,}",
        str(row["side"]),
        row["cache"],
        row["source"],
        f"{above:.2f} GiB",
        f"{row['ready']:.0f} s",
        f"{row['seconds']:.0f} s",
        f"{row['load']:.1f}",
        f"{row['verdict']} ({row['exit_code']})",
    )


def table(out: Path, page: Path | None) -> None:
    """Every kept case, on the page."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    rows.sort(key=lambda row: (row["source"], row["films"], row["side"], CACHES.index(row["cache"])))
    publish(HEAD, [cells(row) for row in rows], page, keys=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--films", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--caches", choices=CACHES, nargs="+", default=list(CACHES))
    parser.add_argument("--source", type=Path, help="checkout to audit with, in the place of this one")
    parser.add_argument("--name", default="this", help="what the table calls that checkout")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/scale"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "table":
        table(options.out, options.doc)
        return
    for films in options.films:
        for cache in options.caches:
            row = run(Case(films, options.side, cache, options.name), options.out, options.source)
            print(" | ".join(cells(row)), flush=True)


if __name__ == "__main__":
    main()
