"""What many films cost: peak memory, time, and how soon a second run is ready, of whole audits over generated films.

    nice python -m benchmarks.scale run [--films 2000 6000] [--caches none cold warm] [--source FOLDER]
    nice python -m benchmarks.scale films [--films 2000 6000] [--caches memory cold warm]
    python -m benchmarks.scale table [--doc docs/scale.md]

Films are those of benchmarks/lab/generated.py (256 px PNG, half of them training films), seen at ``--side`` pixels by a
MobileNetV3 of random weights, which is small enough for the films' share to show. Every run is one ``reid-audit check
--method prior`` on one thread: no attack, no reference models, and everything that compares films. ``none``: no
``--cache``. ``cold``: an empty one. ``warm``: the one that ``cold`` left. The peak is the process's largest resident
set, pages of files included, less that of a process that only imports the libraries. ``--source`` runs another
checkout. ``films`` is the films' part alone, without a network: both cohorts are opened, then linkage of 48 images,
exchangeability, the scorer's sensitivity and shared pictures are computed, timed on the processor's clock. ``memory``:
every film is a float32 tensor, and both cohorts are joined to one, as it was before there was a store.

Finished cases are kept in ``--out``, one JSON each, and are not run again: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from benchmarks.lab.generated import CALIBRATION, outcome, write_films, write_network
from benchmarks.lab.pages import Row, publish
from reid_audit.audit.cohorts import both_cohorts
from reid_audit.cohort import (
    Cohort,
    FilmStore,
    Frame,
    Source,
    load_cohort,
    require_disjoint,
    stored_cohort,
)
from reid_audit.imaging.stack import Stack
from reid_audit.preprocess import HALF
from reid_audit.records import PreprocessSpec, Role
from reid_audit.score.exchangeability import exchangeability
from reid_audit.score.linkage import linkage
from reid_audit.score.sensitivity import scorer_sensitivity
from reid_audit.score.similarity import fit_match_space

SQUASHED = PreprocessSpec(mean=HALF.mean, std=HALF.std)
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
"""The line from which on both cohorts are at hand."""
CACHES = ("none", "memory", "cold", "warm")
SHOWN, RECONSTRUCTIONS = 512, 48
"""Films that the match space is fitted on, and images that films are compared with."""
OF_FILMS = ("films", "px", "kept", "peak above the libraries", "both cohorts at hand after", "compared after", "store")
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
    make = partial(timm.create_model, NETWORK, num_classes=2)
    network = write_network(out / f"{NETWORK}-{side}.safetensors", calibration, side, make, batches=40)
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


def compared(case: Case, out: Path) -> dict[str, Any]:
    """The films' part alone, in this process."""
    manifest = write_films(out / "films", case.films).resolve()
    frame, cache = Frame(SQUASHED, case.side), out / "cache" / f"films-{case.films}-{case.side}"
    if case.cache == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    prior = torch.rand(SHOWN, 1, case.side, case.side, generator=torch.Generator().manual_seed(0))
    began, bare = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sides: list[Cohort[Stack]] = []
    roles: tuple[tuple[Role, str], ...] = (("reference", "target"), ("holdout", "holdout"))
    for role, split in roles:
        source = Source(manifest, {"split": split})
        held = case.cache == "memory"
        store = FilmStore(cache)
        sides.append(load_cohort(source, frame, role) if held else stored_cohort(source, frame, role, store))
    reference, holdout = sides
    require_disjoint(reference, holdout)
    ready = time.process_time() - began
    compare = both_cohorts(reference, holdout, fit_match_space(prior))
    if case.cache == "memory":
        compare = replace(compare, images=torch.cat([side.images[:] for side in sides]))
    linkage(compare, prior[:RECONSTRUCTIONS], np.random.default_rng(0))
    exchangeability(compare, np.random.default_rng(0))
    scorer_sensitivity(compare, prior, np.random.default_rng(0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stored = sum(path.stat().st_size for path in cache.rglob("*.films")) if case.cache != "memory" else 0
    took = time.process_time() - began
    return asdict(case) | {"above": 1024 * (peak - bare), "ready": ready, "compared": took, "stored": stored}


def of_films(row: dict[str, Any]) -> Row:
    """One line of the table of films alone."""
    return (
        f"{row['films']:,}",
        str(row["side"]),
        row["cache"],
        f"{row['above'] / 2**30:.2f} GiB",
        f"{row['ready']:.1f} s",
        f"{row['compared']:.1f} s",
        f"{row['stored'] / 1e6:.0f} MB",
    )


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
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    found.sort(key=lambda row: (row["source"], row["films"], row["side"], CACHES.index(row["cache"])))
    publish(HEAD, [cells(row) for row in found if "peak" in row], page, keys=4)
    publish(OF_FILMS, [of_films(row) for row in found if "above" in row], page, keys=3, mark="films")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "films", "one", "table"])
    parser.add_argument("--films", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--caches", choices=CACHES, nargs="+", default=["cold", "warm"])
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
            case = Case(films, options.side, cache, "films" if options.what != "run" else options.name)
            kept = options.out / f"{case.name}.json"
            if options.what == "one":
                kept.write_text(json.dumps(compared(case, options.out), indent=1), encoding="utf-8")
            elif options.what == "run":
                print(" | ".join(cells(run(case, options.out, options.source))), flush=True)
            else:
                if not kept.is_file():
                    alone(case, options.out)
                print(" | ".join(of_films(json.loads(kept.read_text(encoding="utf-8")))), flush=True)


def alone(case: Case, out: Path) -> None:
    """``compared`` in a process of its own."""
    sizes = ["--films", str(case.films), "--side", str(case.side), "--caches", case.cache]
    command = [sys.executable, "-m", "benchmarks.scale", "one", *sizes, "--out", str(out)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
