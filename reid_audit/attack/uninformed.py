"""`prior`, the negative control: samples of the prior, made without looking at the target."""

from __future__ import annotations

import torch

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import likelihood, recipe
from reid_audit.attack.refinement import finish
from reid_audit.budget import Meter
from reid_audit.observer import Observer, StageEnded, StageStarted
from reid_audit.records import StoppedBy


def uninformed(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """As many samples of the prior as the attack has particles, with their energies under the target beside them."""
    observer.notice(StageStarted("prior samples", 1))
    objective = likelihood(task, recipe(task))
    with torch.no_grad():
        images = task.prior.decode(task.prior.sample_latents(sum(task.budget.particles), generator)).clamp(0.0, 1.0)
        energy = float(objective.energy(task.inputs(images)).mean())
    meter.tick()
    observer.notice(StageEnded("prior samples", f"energy {energy:.3g}"))
    return finish(task, images, objective, [(0, energy)], meter, StoppedBy.COMPLETE)
