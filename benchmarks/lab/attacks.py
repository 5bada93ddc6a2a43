"""A trained network as an attacker meets it: identified from its weights alone, with the prior of the other films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.lab.data import SPEC
from benchmarks.lab.targets import CPU, Bench, Target, base_of, weights_of
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target as Network
from reid_audit.attack.interface import AttackTask
from reid_audit.audit.setup import laid_out
from reid_audit.prior.interface import Prior
from reid_audit.records import Budget


def network_of(path: Path, side: int, device: torch.device) -> Network:
    """The network in a file, on ``device``, laid out as in an audit."""
    found = identify(load_file(path), side=side)
    return replace(found, module=laid_out(found.module.to(device)))


def task_of(
    target: Target,
    bench: Bench,
    folder: Path,
    budget: Budget,
    *,
    device: torch.device | None = None,
    prior: Prior | None = None,
) -> AttackTask:
    """The attack's task on ``target``, trained where it is missing below ``folder``; ``prior``: the bench's without."""
    place = device or CPU
    space = bench.space.to(place)
    return AttackTask(
        target=network_of(weights_of(target, bench, folder, place), target.side, place),
        prior=space if prior is None else prior.to(place),
        space=space,
        preprocess=SPEC.model_copy(update={"side": target.side}),
        budget=budget,
        base=network_of(base_of(target, bench, folder, place), target.side, place) if target.base else None,
    )
