"""The attack's step against a plain reference loop: seconds a step, peak memory, and time to the reference's energy.

    python -m benchmarks.step --data ../shared/data/nih_cxr14 [--device cuda] [--steps 300]

The reference is written in the style of public model-inversion code (Yin et al. 2020): one forward hook per BatchNorm
layer, Euclidean norms of mean and variance differences summed, fp32 NCHW, Adam, `.item()` each step. Target, prior,
particles and start are the same for both; both run in this one command, each in a process of its own, and what counts
is the ratio. Energies are those of the attack's own likelihood, for both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.lab.attacks import task_of
from benchmarks.lab.targets import Bench, Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.likelihood import likelihood, recipe, with_metrics
from reid_audit.attack.refinement import Descent, refine
from reid_audit.budget import Meter
from reid_audit.records import Budget

PARTICLES = 16
LADDER = (12, 25, 50, 100, 200, 400)
"""Lengths of schedule tried until the attack reaches the reference's energy."""


def task_for(options: argparse.Namespace) -> AttackTask:
    target = Target("resnet18", 64, PARTICLES, 0)
    bench = Bench.at(options.data, target.side)
    budget = Budget(particles=(PARTICLES,))
    return task_of(target, bench, options.out.parent / "targets", budget, device=torch.device(options.device))


def start_of(task: AttackTask) -> Tensor:
    device = task.space.mean.device
    generator = torch.Generator(device=device).manual_seed(0)
    return recipe(task).start_scale * task.space.sample_latents(PARTICLES, generator)


def reference(task: AttackTask, steps: int) -> Tensor:
    """Latents after ``steps`` of the plain loop."""
    terms: list[Tensor] = []

    def hook(layer: nn.Module, args: tuple[Tensor, ...], _: Any) -> None:
        x = args[0]
        mean = x.mean([0, 2, 3])
        variance = x.permute(1, 0, 2, 3).reshape(x.shape[1], -1).var(1, unbiased=False)
        stored_mean, stored_variance = (layer.get_buffer(name) for name in ("running_mean", "running_var"))
        terms.append((stored_mean - mean).norm(2) + (stored_variance - variance).norm(2))

    handles = [m.register_forward_hook(hook) for m in task.target.module.modules() if isinstance(m, nn.BatchNorm2d)]
    latents = start_of(task).requires_grad_(True)
    optimiser = torch.optim.Adam([latents], lr=0.05)
    for _ in range(steps):
        terms.clear()
        task.target.module(task.inputs(task.space.decode(latents)))
        loss = torch.stack(terms).sum() + 1e-4 * latents.square().sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        loss.item()
    for handle in handles:
        handle.remove()
    return latents.detach()


def attack(task: AttackTask, steps: int) -> Tensor:
    """Latents after a whole schedule of ``steps``."""
    settings = recipe(task)
    descent = Descent("step", steps, settings, Meter(None, None))
    return refine(task, task.space, start_of(task), likelihood(task, settings), descent).latents


def energy(task: AttackTask, latents: Tensor) -> float:
    with torch.no_grad():
        return float(likelihood(task, recipe(task)).energy(task.inputs(task.space.decode(latents))))


def synchronised(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(options: argparse.Namespace, name: str, steps: int, pipe: Any) -> None:
    """One loop in its own process: CPU seconds (wall on CUDA), energy, peak memory above the set-up.

    What the attack measures on the prior before its loop, once for each target, is `measuring`.
    """
    task = task_for(options)
    loop = {"reference": reference, "attack": attack}[name]
    began = synchronised(options.device)
    task = with_metrics(task) if name == "attack" else task
    measuring = synchronised(options.device) - began
    loop(task, 2)
    began, before = synchronised(options.device), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    latents = loop(task, steps)
    seconds = synchronised(options.device) - began
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    peak = torch.cuda.max_memory_allocated() if options.device == "cuda" else 1024 * before + grown
    figures = {"steps": steps, "measuring": measuring, "seconds": seconds, "energy": energy(task, latents)}
    pipe.send({"loop": name, **figures, "peak_bytes": peak})


def alone(options: argparse.Namespace, name: str, steps: int) -> dict[str, Any]:
    """What ``timed`` found in a process of its own. Raises EOFError where that process died."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=timed, args=(options, name, steps, theirs))
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Both loops and their ratios; ``data``, ``out`` (whose folder keeps the target), ``steps`` and ``device``."""
    plain = alone(options, "reference", options.steps)
    runs = []
    for steps in LADDER:
        runs.append(alone(options, "attack", steps))
        print(json.dumps(runs[-1]), flush=True)
        if runs[-1]["energy"] <= plain["energy"]:
            break
    last = runs[-1]
    reached = last["energy"] <= plain["energy"]
    return {
        "device": options.device,
        "threads": torch.get_num_threads(),
        "reference": plain,
        "attack": runs,
        "step_ratio": (last["seconds"] / last["steps"]) / (plain["seconds"] / plain["steps"]),
        "peak_ratio": last["peak_bytes"] / plain["peak_bytes"],
        "time_to_energy_ratio": last["seconds"] / plain["seconds"] if reached else None,
        "with_measuring": (last["measuring"] + last["seconds"]) / plain["seconds"] if reached else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/step.json"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = measured(options)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
