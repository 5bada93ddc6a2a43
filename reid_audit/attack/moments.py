"""`moments`: joint full-rank reconstruction from what the parameters remember, under a Gaussian prior.

The batch of particles is the unknown; each group of particles is one hypothesis about how many training images the
statistics stand for, and all groups share each forward pass. Related work: Yin et al., DeepInversion (CVPR 2020),
which matches the same statistics without a noise model, in pixel space.
"""

from __future__ import annotations

import torch

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import likelihood, recipe
from reid_audit.attack.refinement import Descent, RefineSettings, from_noise
from reid_audit.budget import Meter
from reid_audit.observer import Observer


def moments(
    task: AttackTask,
    *,
    generator: torch.Generator,
    meter: Meter,
    observer: Observer,
    settings: RefineSettings | None = None,
) -> Reconstruction:
    """Reconstruct the batch in the full-rank space; [sum(particles), C, H, W] images.

    Without ``settings`` the recipe that suits the network is followed.
    """
    settings = settings or recipe(task)
    descent = Descent("moments", task.budget.steps, settings, meter, observer)
    return from_noise(task, likelihood(task, settings), descent, generator)
