"""Does `--budget` hold? Whole commands, timed from outside, over sides, numbers of films and budgets.

    nice python -m benchmarks.budget run [--sides 32 224] [--films 100 5000] [--budgets 60] [--threads 1] [--clock cpu]
    nice python -m benchmarks.budget run --network densenet121 --sides 224 --films 600 --budgets 145
    python -m benchmarks.budget table [--doc docs/budget.md]

Films are generated (smooth random fields, 256 px PNG, half of them training films) or, with ``--real``, those of a
manifest with the splits target and holdout. The network is a ResNet-18 (``--network``: another of torchvision) of
random weights whose running statistics are those of films: it leaks nothing, so that every stage has to run. Its side
is given, its grey values are fitted, as in the quick start. What is timed is the process, from its start to its end:
the first line it wrote, the longest time without a line, and how far it went beyond its budget; beside it how many
processes wanted the machine meanwhile.
Finished cases are kept in ``--out``, one JSON each, and are not run again: a run that was stopped goes on. The cases
run one after another, short budgets first.

``--clock cpu`` is for machines that are shared: the audit's clock, and the one beside it, is then the time that its one
thread ran on a processor, which is what an idle core would take, waiting for the disk apart. The budget is unchanged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torchvision

from benchmarks.lab.generated import CALIBRATION, outcome, write_films, write_network
from benchmarks.lab.pages import Row, publish

TICKS = os.sysconf("SC_CLK_TCK")
CLOCKS = {
    "wall": ("-m", "reid_audit"),
    "cpu": ("-c", "import time\ntime.monotonic = time.process_time\nfrom reid_audit.cli import run\nrun()"),
}
"""What starts the audit under each clock."""
RESNET = "resnet18"
ALLOWED, RATIO = 10.0, 0.05
"""Seconds, or share of the budget, that a command may take beyond it: the larger of the two."""
HEAD = (
    "films", "px", "budget", "took", "over", "holds", "first line", "longest silence", "clock", "load",
    "verdict (exit)", "made smaller", "no time for",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One command."""

    films: int
    """Films of both cohorts together; 0: all of the real ones."""
    side: int
    seconds: int
    clock: str = "wall"
    network: str = RESNET

    @property
    def name(self) -> str:
        network = "" if self.network == RESNET else f"-{self.network}"
        return f"{self.films or 'real'}-{self.side}px-{self.seconds}s-{self.clock}{network}"


@dataclass(frozen=True, slots=True)
class Timed:
    """What a command did, on a clock outside it."""

    taken: float
    """Seconds."""
    first_line: float
    silence: float
    """Longest time without a line, the wait for the first one and after the last one included."""
    after: str
    """The line before that silence."""
    exit_code: int
    cpu: float
    """Seconds on a processor."""
    load: float
    """Processes that ran or wanted to, this one included: the mean of the last minute, at the end."""


def on_processor(process: int) -> float:
    """Seconds that a process ran so far, good to a hundredth."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def timed(command: Sequence[str], log: Path, environment: dict[str, str], clock: str) -> Timed:
    """Run ``command`` and time its lines on stderr, which are kept in ``log``."""
    earlier = resource.getrusage(resource.RUSAGE_CHILDREN)
    first, silence, line, after = None, 0.0, "the start", ""
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1, env=environment
        ) as process,
    ):
        watch = time.monotonic if clock == "wall" else partial(on_processor, process.pid)
        began = last = watch() if clock == "wall" else 0.0
        for text in process.stderr or ():
            now = watch()
            kept.write(f"{now - began:8.2f} {text}")
            kept.flush()
            first = now - began if first is None else first
            if now - last > silence:
                silence, after = now - last, line
            last, line = now, text.strip()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # what it took is known until it is collected
        ended = watch()
        code = process.wait()
    if ended - last > silence:
        silence, after = ended - last, line
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - earlier.ru_utime - earlier.ru_stime
    started = ended - began if first is None else first
    return Timed(ended - began, started, silence, after, code, cpu, os.getloadavg()[0])


def run(case: Case, out: Path, real: Path | None, threads: int) -> dict[str, Any]:
    """One timed command as a row; a kept row where there is one."""
    kept = out / f"{case.name}.json"
    if kept.is_file():
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    manifest = real if not case.films and real is not None else write_films(out / "films", case.films)
    calibration = real if real is not None and not case.films else write_films(out / "films", CALIBRATION)
    name = f"{case.network}-{'real' if not case.films else 'made'}-{case.side}.safetensors"
    make = partial(torchvision.models.get_model, case.network, num_classes=2)
    network = write_network(out / name, calibration, case.side, make)
    report = out / "reports" / case.name
    report.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, *CLOCKS[case.clock], "check", str(network.resolve()),
        "--reference", f"{manifest.resolve()}?split=target", "--holdout", f"{manifest.resolve()}?split=holdout",
        "--side", str(case.side), "--budget", f"{case.seconds}s", "--out", str(report),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NO_COLOR": "1"}
    found = timed(command, report / "stderr.txt", environment, case.clock)
    row = {**asdict(case), **asdict(found), **outcome(report), "threads": threads}
    kept.write_text(json.dumps(row, indent=1), encoding="utf-8")
    return row


def holds(row: dict[str, Any]) -> bool:
    """Whether a command stayed within what it may take beyond its budget."""
    return bool(row["taken"] - row["seconds"] <= max(ALLOWED, RATIO * row["seconds"]))


def cells(row: dict[str, Any]) -> Row:
    """One line of the table."""
    over = row["taken"] - row["seconds"]
    return (
        str(row["films"] or "real (1,231)"),
        str(row["side"]) + ("" if row.get("network", RESNET) == RESNET else f", {row['network']}"),
        f"{row['seconds']} s",
        f"{row['taken']:.0f} s",
        f"{max(0.0, over):.0f} s",
        "yes" if holds(row) else "no",
        f"{row['first_line']:.1f} s",
        f"{row['silence']:.1f} s",
        row["clock"],
        f"{row['load']:.1f}",
        f"{row['verdict']} ({row['exit_code']})",
        ", ".join(row["smaller"]) or "-",
        f"{len(row['late'])} metrics" if row["late"] else "-",
    )


def table(out: Path, page: Path | None) -> None:
    """Every kept case, on the page."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    rows.sort(key=lambda row: (row["seconds"], row["films"], row["side"]))
    publish(HEAD, [cells(row) for row in rows], page, keys=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128, 224])
    parser.add_argument("--films", type=int, nargs="+", default=[100, 400, 1500, 5000])
    parser.add_argument("--budgets", type=int, nargs="+", default=[60, 180], help="seconds")
    parser.add_argument(
        "--real", type=Path, help="folder of a manifest.csv with splits target and holdout: also audit it"
    )
    parser.add_argument("--network", default=RESNET, help="a name of torchvision")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/budget"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "table":
        table(options.out, options.doc)
        return
    real = None if options.real is None else options.real / "manifest.csv"
    counts = [*options.films, *([0] if real is not None else [])]
    sizes = [(n, side, s) for s in options.budgets for side in options.sides for n in counts]
    for case in (Case(*size, options.clock, options.network) for size in sizes):
        row = run(case, options.out, real, options.threads)
        print(" | ".join(cells(row)), f"| after: {row['after'][:80]}", flush=True)


if __name__ == "__main__":
    main()
