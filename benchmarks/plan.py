"""How far is the forecast of ``reid-audit plan`` from what audits take, stage by stage?

    nice python -m benchmarks.plan run
    python -m benchmarks.plan costs [--doc docs/scale.md]
    python -m benchmarks.plan table [--doc docs/scale.md]

Every audit is one process that first asks for the forecast and then runs the same check, both on the time that its one
thread ran on a processor, which is what an idle core would take; so the machine may be shared. Films are those of
benchmarks/lab/generated.py. Finished cases are kept in ``--out``, one JSON each, and are not run again.

``costs`` is about the comparisons alone: audits without an attack, in seconds over how much slower this machine is than
the core that ``COSTS`` of reid_audit/audit/pacing.py were measured on, beside those.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lab.pages import Row, publish

HEAD = ("audit", "stage", "forecast", "took", "forecast / took")
OF_COSTS = ("comparison", "films", "px", "took", "thought", "thought / took")
SIZES = ((300, 32), (1000, 32), (3000, 32), (1000, 224))
"""(films, px) of the comparisons alone."""
LIGHT = "mobilenetv3_small_050"
PASSES = ("membership: films", "membership: batches of")
CONTAINERS = ("network and prior", "trying the network")
"""Stages whose inner stages are looked at one by one."""
METRIC, ATTACK, NEGATIVE = "statistics of the prior", "attack", "negative control"
INNER = {"statistics of the prior": METRIC, "metric of every layer": METRIC}
SMALL = 0.5
"""Seconds below which a stage's own line says nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One audit."""

    network: str
    """A name of timm or torchvision."""
    side: int
    films: int
    steps: int
    particles: int
    references: bool = False

    @property
    def name(self) -> str:
        more = ", references" if self.references else ""
        return f"{self.network}, {self.side} px, {self.films} films, {self.steps} steps x {self.particles}{more}"


CASES = (
    Case("resnet18", 32, 300, 100, 16),
    Case("resnet18", 64, 300, 60, 16),
    Case("mobilenetv3_small_050", 96, 400, 60, 8),
    Case("densenet121", 32, 240, 60, 8),
    Case("resnet18", 32, 240, 60, 16, references=True),
)


@dataclass(slots=True)
class Spans:
    """Seconds between the starts of outermost stages, by what the forecast calls them."""

    current: str = ""
    since: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def notice(self, event: Any) -> None:
        """An event of reid_audit.observer."""
        kind = type(event).__name__
        if kind == "StageStarted":
            if all(name in CONTAINERS for name in self.open) and event.stage not in CONTAINERS:
                self.enter(group_of(event.stage))
            self.open.append(event.stage)
        elif kind == "StageEnded" and event.stage in self.open:
            self.open.remove(event.stage)
            if event.stage in CONTAINERS:
                self.enter("other")

    def enter(self, group: str) -> None:
        """From now on it is ``group``."""
        now = time.monotonic()
        if self.current:
            self.seconds[self.current] = self.seconds.get(self.current, 0.0) + now - self.since
        self.current, self.since = group, now


def group_of(stage: str) -> str:
    """What the forecast calls a stage of an audit."""
    if stage.startswith("target"):
        return ATTACK
    if stage.startswith("negative control"):
        return NEGATIVE
    if stage.startswith("reading "):
        return "reading films"
    if stage.startswith(("reference ", "bearing ", "what the references")):
        return "reference models"
    if stage.startswith("membership"):
        return "membership"
    return INNER.get(stage, stage)


def one(case: Case, out: Path) -> dict[str, Any]:
    """Forecast and audit in this process, on its processor's clock."""
    time.monotonic = time.process_time
    import timm
    import torch

    import reid_audit
    from benchmarks.lab.generated import CALIBRATION, write_films, write_network
    from reid_audit.checking.caller import Caller
    from reid_audit.checking.options import CheckOptions
    from reid_audit.checking.rules import rules_of
    from reid_audit.cli.plan import forecast
    from reid_audit.observer import SilentObserver

    torch.set_num_threads(1)
    make = partial(timm.create_model, case.network, num_classes=2)
    calibration, policy = write_films(out / "films", CALIBRATION), out / "policy.toml"
    network = write_network(out / f"{case.network}-{case.side}.safetensors", calibration, case.side, make)
    policy.write_text(
        f"[preprocess]\nside = {case.side}\nresize = 'squash'\ncrop = 'none'\nmean = [0.5]\nstd = [0.5]\n"
        f"[budget]\nsteps = {case.steps}\nparticles = [{case.particles}]\n"
        f"[references]\nwhen = '{'required' if case.references else 'off'}'\n"
    )
    manifest = write_films(out / "films", case.films).resolve()
    reference, holdout = f"{manifest}?split=target", f"{manifest}?split=holdout"
    options, rules = rules_of(
        CheckOptions(checkpoint=str(network), policy=policy, out=out / "runs", reference=reference, holdout=holdout)
    )
    began = time.monotonic()
    planned = forecast(options, rules, Caller(SilentObserver(), began)).planned
    tried, spans = time.monotonic() - began, Spans()
    reid_audit.check(network, reference, holdout, policy=policy, observer=spans, indicators_only=True)
    spans.enter("")
    stages = () if planned is None else planned.stages
    forecasts: dict[str, float] = {}
    for each in stages:
        forecasts[each.stage] = forecasts.get(each.stage, 0.0) + each.seconds
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"forecast": planned.memory_bytes if planned else 0, "took": peak}
    return {
        "case": asdict(case), "name": case.name, "trial": tried, "forecast": forecasts, "took": spans.seconds,
        "memory": memory,
    }  # fmt: skip


def core() -> float:
    """How much slower this machine is than the core that costs were measured on."""
    import torch

    from reid_audit.audit.pacing import CORE, EDGE

    matrix = torch.randn(EDGE, EDGE, dtype=torch.float64)
    square, found = matrix @ matrix.T, []
    for _ in range(9):
        began = time.process_time()
        torch.linalg.eigh(square)
        found.append(time.process_time() - began)
    return sorted(found)[4] / EDGE**3 / CORE


class Comparisons(Spans):
    """``Spans`` that tell the passes of membership from what is made of them."""

    def notice(self, event: Any) -> None:
        """An event of reid_audit.observer."""
        Spans.notice(self, event)
        if type(event).__name__ == "StageStarted" and event.stage.startswith(PASSES):
            self.enter("passes")
        if type(event).__name__ == "StageEnded" and event.stage.startswith(PASSES):
            self.enter("membership")


def compared(films: int, side: int, out: Path) -> list[Row]:
    """An audit without an attack in this process, on its processor's clock."""
    time.monotonic = time.process_time
    import timm
    import torch
    from safetensors.torch import load_file

    import reid_audit
    from benchmarks.lab.generated import CALIBRATION, write_films, write_network
    from reid_audit.audit.pacing import CORE, COSTS, Speed

    torch.set_num_threads(1)
    make = partial(timm.create_model, LIGHT, num_classes=2)
    network = write_network(out / f"{LIGHT}-{side}.safetensors", write_films(out / "films", CALIBRATION), side, make)
    policy, manifest = out / "costs.toml", write_films(out / "films", films).resolve()
    policy.write_text(
        f"[preprocess]\nside = {side}\nresize = 'squash'\ncrop = 'none'\nmean = [0.5]\nstd = [0.5]\n"
        "[budget]\nsteps = 1\nparticles = [16]\n[references]\nwhen = 'off'\n"
        "[controls]\nattack_power = false\nmembership_control = false\n"
    )
    before, spans = core(), Comparisons()
    cohorts = (f"{manifest}?split=target", f"{manifest}?split=holdout")
    reid_audit.check(network, *cohorts, policy=policy, observer=spans, indicators_only=True, method="prior")
    spans.enter("")
    slower = (before + core()) / 2
    stored = sum(value.numel() for key, value in load_file(network).items() if "running_" in key)
    unit, rows = Speed(0.0, CORE, stored), list[Row]()
    for name in COSTS:
        took = spans.seconds.get(name, 0.0) / slower / (2 if name == "linkage" else 1)
        thought = unit.comparison(name, films)
        rows.append((name, f"{films:,}", str(side), f"{took:.2f} s", f"{thought:.2f} s", f"{thought / took:.1f}"))
    return rows


def cells(row: dict[str, Any]) -> list[Row]:
    """The audit as a whole, then stages that took or should take long enough."""
    known = {stage: row["took"].get(stage, 0.0) for stage in row["forecast"] if stage != "reports"}
    foreseen = {stage: seconds for stage, seconds in row["forecast"].items() if stage != "reports"}
    found = [line(row["name"], "**all**", sum(foreseen.values()), sum(known.values()))]
    if "memory" in row:
        forecast, took = row["memory"]["forecast"] / 2**30, row["memory"]["took"] / 2**30
        found.append((row["name"], "**memory**", f"{forecast:.2f} GiB", f"{took:.2f} GiB", f"{forecast / took:.2f}"))
    for stage, seconds in foreseen.items():
        if max(seconds, known[stage]) >= SMALL:
            found.append(line(row["name"], stage, seconds, known[stage]))
    return found


def costs(films: int, side: int, out: Path) -> list[Row]:
    """``compared`` in a process of its own."""
    sizes = ["--films", str(films), "--side", str(side), "--out", str(out)]
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.plan", "costs", *sizes],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    return [tuple(row) for row in json.loads(said.splitlines()[-1])]


def line(name: str, stage: str, forecast: float, took: float) -> Row:
    ratio = f"{forecast / took:.2f}" if took > 0 else "-"
    return name, stage, f"{forecast:.1f} s", f"{took:.1f} s", ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "costs", "table", "one"])
    parser.add_argument("number", type=int, nargs="?", help="of one case")
    parser.add_argument("--films", type=int, help="of costs: this size alone, in this process, as JSON")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/plan"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "one":
        row = one(CASES[options.number], options.out)
        (options.out / f"{options.number}.json").write_text(json.dumps(row, indent=1), encoding="utf-8")
    elif options.what == "costs" and options.films:
        print(json.dumps(compared(options.films, options.side, options.out)))
    elif options.what == "costs":
        rows = [each for films, side in SIZES for each in costs(films, side, options.out)]
        publish(OF_COSTS, rows, options.doc, keys=3, mark="costs")
    elif options.what == "run":
        for number in range(len(CASES)):
            if not (options.out / f"{number}.json").is_file():
                command = [sys.executable, "-m", "benchmarks.plan", "one", str(number), "--out", str(options.out)]
                subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    else:
        kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.out.glob("*.json"))]
        publish(HEAD, [each for row in kept for each in cells(row)], options.doc, keys=2, mark="plan")


if __name__ == "__main__":
    main()
