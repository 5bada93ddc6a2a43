"""The attack runs of an audit: on the target, without the target's weights, and on a copy that knows canaries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from reid_audit.attack.interface import Attack, AttackTask, Reconstruction
from reid_audit.attack.likelihood import holds_images
from reid_audit.attack.methods import METHODS
from reid_audit.attack.outcome import untried
from reid_audit.attack.uninformed import uninformed
from reid_audit.audit.request import AttackChoice
from reid_audit.budget import Meter
from reid_audit.observer import Event, Noted, Observer
from reid_audit.records import AttackRun, StoppedBy
from reid_audit.store import RunStore, kept_or_noted

NEGATIVE_SIZE = 4
"""The negative control has this many times the particles, so that its 1st percentile is not its minimum."""


@dataclass(frozen=True, slots=True, eq=False)
class RunContext:
    """What every attack run needs beside its task: randomness, who is notified, and where it is kept."""

    attack: AttackChoice
    observer: Observer
    store: RunStore
    inputs: str
    """SHA-256 over everything the runs depend on: a stored run is reused only under the same one."""


@dataclass(frozen=True, slots=True)
class RunObserver:
    """Puts the name of an attack run before the names of its stages: every one runs the same attack."""

    run: str
    inner: Observer

    def notice(self, event: Event) -> None:
        """Pass ``event`` on."""
        if not isinstance(event, Noted):
            event = replace(event, stage=f"{self.run.replace('_', ' ')}: {event.stage}")
        self.inner.notice(event)


def generator_for(seed: int, purpose: str, device: torch.device | None = None) -> torch.Generator:
    """A torch generator whose random numbers depend on the seed and on what they are used for, and on nothing else."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7], "big")
    return torch.Generator(device=device or torch.device("cpu")).manual_seed(number)


def numpy_for(seed: int, purpose: str) -> np.random.Generator:
    """A numpy generator whose random numbers depend on the seed and on what they are used for."""
    return np.random.default_rng(list(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()))


OTHERWISE = frozenset({"gradient", "embeddings"})
"""Methods that rebuild from something else than statistics and classifiers, and say themselves where there is none."""


def can_rebuild(task: AttackTask, method: str) -> bool:
    """Whether an attack has anything to go by; where it has not, films can still be recognised by the answers."""
    return method in OTHERWISE or holds_images(task.target)


def attack_target(task: AttackTask, meter: Meter, context: RunContext, *, name: str = "target") -> Reconstruction:
    """Run (or resume) an attack; no image where there is nothing to go by. The start is the same in every run, only the
    weights differ."""
    if not can_rebuild(task, context.attack.method):
        return untried(tuple(task.space.mean.shape), meter.spend(StoppedBy.COMPLETE))
    return _stored(METHODS[context.attack.method], task, meter, context, name, purpose="attack")


def attack_nothing(task: AttackTask, meter: Meter, context: RunContext) -> Reconstruction:
    """The negative control: samples of the prior, scored under the target's weights; none beside no attack."""
    if not can_rebuild(task, context.attack.method):
        return untried(tuple(task.space.mean.shape), meter.spend(StoppedBy.COMPLETE))
    larger = tuple(count * NEGATIVE_SIZE for count in task.budget.particles)
    wide = replace(task, budget=task.budget.model_copy(update={"particles": larger}))
    return _stored(uninformed, wide, meter, context, "negative_control", purpose="negative")


def _stored(
    attack: Attack, task: AttackTask, meter: Meter, context: RunContext, name: str, *, purpose: str
) -> Reconstruction:
    known = context.store.load(name, context.inputs)
    if known is not None:
        context.observer.notice(Noted(f"{name.replace('_', ' ')}: taken over from an earlier run"))
        return Reconstruction.from_state(*known)
    if context.store.earlier:
        context.observer.notice(Noted(f"{name.replace('_', ' ')}: no earlier run finished it from the same inputs"))
    device = task.space.mean.device
    watching = RunObserver(name, context.observer)
    made = attack(task, generator=generator_for(context.attack.seed, purpose, device), meter=meter, observer=watching)
    with kept_or_noted(context.observer, name.replace("_", " ")):
        context.store.save(name, context.inputs, *made.to_state())
    return made


def summarise(name: str, made: Reconstruction, note: str = "") -> AttackRun:
    """The record of an attack run, as the result and the reports hold it."""
    return AttackRun.model_validate(
        {
            "name": name,
            "spend": made.spend,
            "energy_start": made.energy_start if len(made.images) else None,
            "energy_end": made.energy_end if len(made.images) else None,
            "images": len(made.images),
            "note": note,
        }
    )
