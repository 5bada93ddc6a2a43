"""What to run once on a machine with a GPU: the demo on CUDA, and step times against the CPU, into one JSON.

python benchmarks/gpu_check.py --data ../shared/data/nih_cxr14 --out benchmarks/out/gpu-check.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
import torchvision
from real import few, sex_labels
from training import SPEC, overfit

from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.moments import moments
from reid_audit.audit import AuditRequest, run_audit
from reid_audit.budget import Meter
from reid_audit.cli.demo import POLICY, films_of
from reid_audit.cohort import load_cohort
from reid_audit.demo.targets import demo_case
from reid_audit.observer import SilentObserver
from reid_audit.policy import policy_sha256
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.records import ArchMatch, Budget


def step_seconds(task: AttackTask, device: torch.device, steps: int) -> tuple[float, float]:
    """Seconds of one optimiser step on ``device`` (after a warm-up) and the final energy."""
    moved = replace(
        task,
        target=replace(task.target, module=task.target.module.to(device)),
        prior=task.prior.to(device),
        space=task.space.to(device),
    )
    generator = torch.Generator(device=device).manual_seed(0)
    for count in (3, steps):
        meter = Meter(None, None)
        timed = replace(moved, budget=moved.budget.model_copy(update={"steps": count}))
        made = moments(timed, generator=generator, meter=meter, observer=SilentObserver())
    return made.spend.seconds / steps, made.energy_end


def demo_codes(device: str) -> dict[str, int]:
    """Exit codes of the demo's two default targets on ``device``."""
    codes = {}
    for name in ("overfit_cnn", "cnn"):
        case = demo_case(name)  # type: ignore[arg-type]
        request = AuditRequest(
            checkpoint=case.checkpoint,
            policy=POLICY,
            policy_sha256=policy_sha256(POLICY),
            device=device,  # type: ignore[arg-type]
        )
        found = run_audit(request, films_of(case), now=datetime.now(UTC), clock=time.monotonic)
        codes[name] = found.result.verdict.exit_code
    return codes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu-check: no CUDA device here", file=sys.stderr)
        return 3
    films, prior = (
        load_cohort(options.data, role="reference", spec=SPEC, side=64, where={"split": split})
        for split in ("target", "prior")
    )
    chosen = few(films, 16, 0)
    module = overfit(lambda: torchvision.models.resnet18(num_classes=2), chosen.images, sex_labels(chosen), seed=0)
    match = ArchMatch(name="resnet18", library="torchvision", family="resnet", coverage=1.0, classes=2, side=64)
    space = fit_gaussian(prior.images, name="nih", declared=("nih",), generator=torch.Generator().manual_seed(0))
    task = AttackTask(Target(module.requires_grad_(False), match), space, space, SPEC, Budget(particles=(16, 32)))
    cpu, _ = step_seconds(task, torch.device("cpu"), options.steps)
    cuda, _ = step_seconds(task, torch.device("cuda"), 10 * options.steps)
    found = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "step_seconds": {"cpu": cpu, "cuda": cuda, "ratio": cuda / cpu},
        "demo_exit_codes": demo_codes("cuda"),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
