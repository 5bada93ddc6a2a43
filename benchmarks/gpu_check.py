"""What to run once on a machine with a GPU, into one JSON: whole audits, the attack's step, the demo and power.

    python -m benchmarks.gpu_check --data ../shared/data/nih_cxr14 --out benchmarks/out/gpu-check.json [--only step]

`standard` is `check --profile standard` of a ResNet-18 at 128 px that was trained with care, with two reference models
and every control; `large` one of a DenseNet-121 at 224 px with ``--films`` generated films. Both are whole commands,
the import of the libraries included. `step` compares the attack's step with a plain loop, `demo` asks for the verdicts
of the demo, `power` measures the small grid. `--device cpu --steps 3` walks the same path without a GPU, in minutes and
without a meaning. Exit 3 where the device is not there, 1 where a target of the demo gets another verdict than it
should (not asked of a shortened run).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torchvision

from benchmarks.lab.generated import outcome, write_films, write_network
from benchmarks.lab.rows import rows_of
from benchmarks.lab.targets import Bench, Target, weights_of
from reid_audit.audit import AuditRequest, Environment, run_audit
from reid_audit.cli.demo import EXPECTED, POLICY, films_of
from reid_audit.demo.targets import demo_case
from reid_audit.policy import policy_sha256

STEP = 300
"""Steps of the reference loop that `step` compares with."""
SHORT = "120s"
"""Budget of the whole audits where every part is shortened."""


def measured(script: str, *line: str) -> None:
    """Run another benchmark of this folder as a person would. Raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", f"benchmarks.{script}", *line], check=True)


def power_rows(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The small grid, measured anew; trained targets are kept."""
    out = folder / "power.jsonl"
    out.unlink(missing_ok=True)
    shortened = [] if options.steps is None else ["--steps", str(options.steps)]
    line = ["--out", str(out), "run", "--data", str(options.data), "--grid", "small", "--device", options.device]
    measured("power", *line, *shortened)
    return rows_of(out)


def step_ratios(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The attack's step against the reference loop, both on the device."""
    out, steps = folder / "step.json", str(options.steps or STEP)
    measured("step", "--out", str(out), "--data", str(options.data), "--steps", steps, "--device", options.device)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def demo_verdicts(options: argparse.Namespace, _: Path) -> dict[str, dict[str, Any]]:
    """Exit codes of the demo's two default targets, and what they should be."""
    policy = POLICY
    if options.steps is not None:
        policy = POLICY.model_copy(update={"budget": POLICY.budget.model_copy(update={"steps": options.steps})})
    found: dict[str, dict[str, Any]] = {}
    for name, expected in EXPECTED.items():
        case = demo_case(name)
        request = AuditRequest(
            checkpoint=case.checkpoint, policy=policy, policy_sha256=policy_sha256(policy), device=options.device
        )
        began = time.monotonic()
        audited = run_audit(request, films_of(case), Environment(datetime.now(UTC), time.monotonic))
        code = audited.result.verdict.exit_code
        found[name] = {"exit_code": code, "expected": expected, "seconds": time.monotonic() - began}
    return found


def standard_audit(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A ResNet-18 at 128 px, trained with care on the films of ``target``; `standard`, nothing of it declared."""
    network = Target("resnet18", 128, 0, 0)
    weights = weights_of(network, Bench.at(options.data, network.side), folder, torch.device(options.device))
    return checked(options, folder, weights, options.data, "--profile", "standard")


def large_audit(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A DenseNet-121 of random weights at 224 px, its statistics those of generated films; the profile `ci`."""
    films = write_films(folder / "films", options.films)
    weights = folder / f"densenet121-{options.films}.safetensors"
    write_network(weights, films, 224, lambda: torchvision.models.densenet121(num_classes=2), batches=4)
    return checked(options, folder, weights, films, "--profile", "ci", "--side", "224")


def checked(options: argparse.Namespace, folder: Path, weights: Path, films: Path, *more: str) -> dict[str, Any]:
    """One command as a user gives it: its seconds, its exit code, and what it held of the card at most."""
    if options.device == "cuda":
        torch.cuda.empty_cache()
    out = folder / f"audit-{weights.stem}"
    shortened = ["--budget", SHORT] if options.steps is not None else []
    command = [sys.executable, "-m", "reid_audit", "check", str(weights), "--label", "sex", *more, *shortened]
    command += ["--reference", f"{films}?split=target", "--holdout", f"{films}?split=holdout"]
    command += ["--device", options.device, "--out", str(out)]
    began = time.monotonic()
    with (folder / f"{out.name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        most = watched_memory(process, options.device)
    report = {"seconds": time.monotonic() - began, "exit_code": process.returncode, **most}
    return report | outcome(out)


def watched_memory(process: subprocess.Popen[bytes], device: str) -> dict[str, float]:
    """Wait for ``process``; the most bytes of the card that it held, and their share of the card."""
    if device != "cuda":
        process.wait()
        return {}
    free, total = torch.cuda.mem_get_info()
    least, ended = [free], threading.Event()

    def sample() -> None:
        while not ended.wait(0.1):
            least[0] = min(least[0], torch.cuda.mem_get_info()[0])

    sampler = threading.Thread(target=sample)
    sampler.start()
    process.wait()
    ended.set()
    sampler.join()
    return {"peak_bytes": free - least[0], "peak_share": (free - least[0]) / total}


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any] | list[dict[str, Any]]]] = {
    "step": step_ratios,
    "standard": standard_audit,
    "large": large_audit,
    "demo": demo_verdicts,
    "power": power_rows,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, help="shorten every part to so many steps")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--films", type=int, default=5000, help="of the part `large`")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: no CUDA device here; --device cpu --steps 3 walks the same path", file=sys.stderr)
        return 3
    folder = options.out.parent / "gpu-check"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "steps": options.steps,
    }
    for name in options.only:
        found[name] = PARTS[name](options, folder)
        print(json.dumps({name: found[name]}), flush=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    wrong = any(row["exit_code"] != row["expected"] for row in found.get("demo", {}).values())
    return int(wrong and options.steps is None)


if __name__ == "__main__":
    raise SystemExit(main())
