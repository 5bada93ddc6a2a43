"""What to run once on a machine with a GPU: power (small), step and the demo on CUDA, into one JSON.

    python -m benchmarks.gpu_check --data ../shared/data/nih_cxr14 --out benchmarks/out/gpu-check.json

`--device cpu --steps 3` walks the same path without a GPU, in minutes and without a meaning. Exit 3 where the device
is not there, 1 where a target of the demo gets another verdict than it should (not asked of a shortened run).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.lab.rows import rows_of
from reid_audit.audit import AuditRequest, Environment, run_audit
from reid_audit.cli.demo import EXPECTED, POLICY, films_of
from reid_audit.demo.targets import demo_case
from reid_audit.policy import policy_sha256

STEP = 300
"""Steps of the reference loop that `step` compares with."""


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


def demo_verdicts(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, help="shorten every part to so many steps")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: no CUDA device here; --device cpu --steps 3 walks the same path", file=sys.stderr)
        return 3
    folder = options.out.parent / "gpu-check"
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "steps": options.steps,
        "power": power_rows(options, folder),
        "step": step_ratios(options, folder),
        "demo": demo_verdicts(options),
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    wrong = any(row["exit_code"] != row["expected"] for row in found["demo"].values())
    return int(wrong and options.steps is None)


if __name__ == "__main__":
    raise SystemExit(main())
