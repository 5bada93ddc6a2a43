"""How much sooner is a sweep of independent audits done on two Ray workers than one after another?

    nice python -m benchmarks.sweep run [--audits 2] [--films 100] [--steps 20]
    nice python -m benchmarks.sweep waiting [--audits 6]
    nice python -m benchmarks.sweep pairs [--counts 4000 8000 16000]
    nice python -m benchmarks.sweep around
    python -m benchmarks.sweep table [--doc docs/scale.md]

``run``: one table of audits, each of the same MobileNetV3 from another attack seed, without planted patients, over
generated films (benchmarks/lab/generated.py), carried out by whole ``reid-audit sweep`` commands with an empty cache
and one thread an audit: one after another, then on a Ray cluster of two workers with one processor each, on this
machine. The command's own time is measured, joining the cluster included, starting it not. ``at once`` is the time of
all audits over that of the command: how many ran at a time. Where others use the machine (``load``), each audit gets
less of a processor, and more processes get more of it: the speed-up is then not the cluster's alone.

``waiting``: the same for processes that wait 20 seconds and need no processor, which nobody else's work slows down:
what the cluster itself takes away of two.

``pairs``: the search for pictures that both cohorts share, which looks at all pairs. ``around``: what a sweep does
beside its audits, looking whether films changed and writing its summary. Both on the processor's clock, one thread.

Finished cases are kept in ``--out`` and are not run again.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks.lab.generated import CALIBRATION, write_films, write_network
from benchmarks.lab.pages import Row, publish
from reid_audit.cohort.overlap import THUMB, pairs_alike
from reid_audit.observer import SilentObserver
from reid_audit.report.sweep import without_verdict
from reid_audit.sweep.inputs import films
from reid_audit.sweep.on_ray import Share, on_ray
from reid_audit.sweep.outcome import Summary
from reid_audit.sweep.run import run_sweep, write
from reid_audit.sweep.task import Task, one_by_one

STAMPED, SUMMED = 100_000, 10_000
WAITED = 20
"""Seconds."""
SIDE, NETWORK = 32, "mobilenetv3_small_050"
POLICY = """[preprocess]
side = {side}
resize = "squash"
crop = "none"
mean = [0.5]
std = [0.5]
[budget]
steps = {steps}
particles = [16]
[references]
when = "off"
[controls]
attack_power = false
membership_control = false
preprocess_fit = false
"""
"""Without planted patients, whose attack and training are most of an audit: a short one has the most to lose by what a
cluster costs."""
HEAD = ("audits", "workers", "whole command", "mean of an audit", "at once", "speed-up", "load")
AROUND_HEAD = ("what a sweep does itself", "how many", "processor", "of each")
PAIRS_HEAD = ("films of a cohort", "pairs", "search", "ns a pair")


@dataclass(frozen=True, slots=True)
class Case:
    """One sweep."""

    audits: int
    films: int
    steps: int
    workers: int
    """0: one after another, without Ray."""

    @property
    def name(self) -> str:
        return f"{self.audits}-{self.films}-{self.steps}-{self.workers}"


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, ...]]:
    """Options of a sweep on so many workers; none without."""
    if not workers:
        yield ()
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")  # on a busy machine
    head = {"num_cpus": 1, "include_dashboard": False}
    machines = importlib.import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=head)
    for _ in range(workers - 1):
        machines.add_node(num_cpus=1)
    try:
        yield "--ray-address", str(machines.address)
    finally:
        machines.shutdown()


def run(case: Case, out: Path) -> dict[str, Any]:
    """One sweep as a row; a kept row where there is one."""
    kept = out / f"{case.name}.json"
    if kept.is_file():
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    manifest, calibration = write_films(out / "films", case.films), write_films(out / "films", CALIBRATION)
    make = partial(timm.create_model, NETWORK, num_classes=2)
    network = write_network(out / f"{NETWORK}-{SIDE}.safetensors", calibration, SIDE, make).resolve()
    policy, table = out / "policy.toml", out / "table.csv"
    policy.write_text(POLICY.format(side=SIDE, steps=case.steps), encoding="utf-8")
    table.write_text("checkpoint\n" + f"{network}\n", encoding="utf-8")
    place = out / "sweeps" / case.name
    seeds = [word for seed in range(case.audits) for word in ("--seed", str(seed))]
    sides = [f"{manifest.resolve()}?split={split}" for split in ("target", "holdout")]
    with cluster(case.workers) as where:
        command = [
            sys.executable, "-m", "reid_audit", "sweep", str(table), *seeds, "--policy", str(policy),
            "--reference", sides[0], "--holdout", sides[1], "--out", str(place), "--indicators-only", *where,
        ]  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}, check=False)
        took = time.monotonic() - began
    found = json.loads((place / "sweep.json").read_text(encoding="utf-8"))
    audits = [row["seconds"] for row in found["rows"] if row["report"]]
    if len(audits) != case.audits:
        raise RuntimeError(f"{case.audits - len(audits)} audits have no verdict (exit code {done.returncode})")
    row = {**asdict(case), "wall": took, "audits_took": audits, "load": os.getloadavg()[0]}
    kept.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def waited(count: int, workers: int, out: Path) -> dict[str, Any]:
    """One sweep of ``count`` processes that wait, as a row."""
    place = (out / "waiting").resolve()
    tasks = [
        Task(
            name=f"wait{number}", seed=0, row=number, checkpoint="none", options=(), folder=place / str(number),
            log=place / "restricted" / f"{number}.log", working=Path.cwd(), inputs="",
            command=("-c", f"import time; time.sleep({WAITED})"),
        )
        for number in range(count)
    ]  # fmt: skip
    with cluster(workers) as where:
        start = partial(on_ray, where[-1], Share(), 0, gpus_wanted=False) if where else partial(one_by_one, 0)
        began = time.monotonic()
        found = run_sweep(tasks, start, Summary(place, "0" * 64), observer=SilentObserver(), clock=time.monotonic)
        took = time.monotonic() - began
    spent = [row.seconds for row in found.rows]
    about = {"audits": count, "films": 0, "steps": 0, "workers": workers}
    return {**about, "wall": took, "audits_took": spent, "load": os.getloadavg()[0]}


def searched(count: int) -> dict[str, Any]:
    """Seconds of the processor for all pairs of ``count`` training films with as many others."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.nn.functional.normalize(torch.randn(count, THUMB**2, generator=generator)) for _ in range(2))
    torch.set_num_threads(1)
    began = time.process_time()
    alike = sum(1 for _ in pairs_alike(left, right))
    return {"count": count, "alike": alike, "seconds": time.process_time() - began}


def around(out: Path) -> list[dict[str, Any]]:
    """Seconds of the processor for stamps of 100,000 films and for a summary of 10,000 audits."""
    few, many = write_films(out / "films", CALIBRATION), out / "films" / "many.csv"
    head, *rows = few.read_text(encoding="utf-8").splitlines()
    many.write_text("\n".join((head, *itertools.islice(itertools.cycle(rows), STAMPED))) + "\n", encoding="utf-8")
    began = time.process_time()
    films(many)
    stamps = time.process_time() - began
    said = ("of no known format", "closest: safetensors and torch.save files", "help: save the weights again")
    audits = [
        without_verdict(row=number, name=f"net{number}", seed=0, code=3, said=said, seconds=60.0)
        for number in range(SUMMED)
    ]
    began = time.process_time()
    write(audits, Summary(out / "summary", "0" * 64))
    written = time.process_time() - began
    done = (("looking whether films changed", STAMPED, stamps), ("writing the summary", SUMMED, written))
    return [{"what": what, "many": count, "seconds": seconds} for what, count, seconds in done]


def of_around(row: dict[str, Any]) -> Row:
    """One line of the table of what a sweep does itself."""
    return row["what"], f"{row['many']:,}", f"{row['seconds']:.1f} s", f"{row['seconds'] / row['many'] * 1e3:.3f} ms"


def cells(row: dict[str, Any], alone: float | None) -> Row:
    """One line of the table. alone: what the same audits took one after another."""
    total = sum(row["audits_took"])
    real = f"{row['audits']} of {NETWORK}, {SIDE} px, {row['films']} films, {row['steps']} steps"
    return (
        real if row["films"] else f"{row['audits']} processes that wait {WAITED} s",
        str(row["workers"]) if row["workers"] else "none: one after another",
        f"{row['wall']:.0f} s",
        f"{total / row['audits']:.0f} s",
        f"{total / row['wall']:.2f}",
        "-" if alone is None else f"{alone / row['wall']:.2f}",
        f"{row['load']:.1f}",
    )


def of_pairs(row: dict[str, Any]) -> Row:
    """One line of the table of pairs."""
    pairs = row["count"] ** 2
    return f"{row['count']:,}", f"{pairs:.1e}", f"{row['seconds']:.1f} s", f"{row['seconds'] / pairs * 1e9:.1f}"


def table(out: Path, page: Path | None) -> None:
    """Every kept case, on the page."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    sweeps = [row for row in rows if "wall" in row]
    one = {(row["audits"], row["films"], row["steps"]): row["wall"] for row in sweeps if not row["workers"]}
    rows = [cells(row, one.get((row["audits"], row["films"], row["steps"]))) for row in sweeps]
    publish(HEAD, rows, page, keys=2, mark="sweep")
    found = sorted((row for row in rows if "alike" in row), key=lambda row: int(row["count"]))
    publish(PAIRS_HEAD, [of_pairs(row) for row in found], page, keys=1, mark="pairs")
    others = [of_around(row) for row in rows if "many" in row]
    publish(AROUND_HEAD, others, page, keys=1, mark="around")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "waiting", "pairs", "around", "table"])
    parser.add_argument("--audits", type=int, default=0, help="default: 2 of run, 6 of waiting")
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="0: one after another, without Ray")
    parser.add_argument("--counts", type=int, nargs="+", default=[4000, 8000, 16000])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/sweep"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "table":
        table(options.out, options.doc)
    elif options.what == "around":
        for number, row in enumerate(around(options.out)):
            (options.out / f"around-{number}.json").write_text(json.dumps(row), encoding="utf-8")
            print(" | ".join(of_around(row)), flush=True)
    elif options.what == "pairs":
        for count in options.counts:
            row = searched(count)
            (options.out / f"pairs-{count}.json").write_text(json.dumps(row), encoding="utf-8")
            print(" | ".join(of_pairs(row)), flush=True)
    else:
        for workers in options.workers:
            if options.what == "waiting":
                row = waited(options.audits or 6, workers, options.out)
                (options.out / f"waiting-{workers}.json").write_text(json.dumps(row), encoding="utf-8")
            else:
                row = run(Case(options.audits or 2, options.films, options.steps, workers), options.out)
            print(" | ".join(cells(row, None)), flush=True)


if __name__ == "__main__":
    main()
