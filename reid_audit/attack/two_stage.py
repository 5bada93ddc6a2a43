"""`two-stage`: a generator is fine-tuned, its latents are searched (latent.py), and pixels are refined at full rank."""

from __future__ import annotations

from dataclasses import replace

import torch

from reid_audit.attack.generator_tuning import TuningSettings, tune_generator
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.latent import LATENT_SHARE, generator_of, search_latents
from reid_audit.attack.likelihood import likelihood, recipe
from reid_audit.attack.refinement import Descent, Refined, finish, refine
from reid_audit.budget import Meter
from reid_audit.observer import Observer
from reid_audit.records import StoppedBy

COOLER = 0.01
"""Share of the recipe's first temperature at which the refinement begins: its start is worth keeping."""


def two_stage(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """The study's attack with a full-rank end; [sum(particles), C, H, W] images.

    Each stage starts from the images of the one before. Raises PriorError where the prior is no generator.
    """
    prior = generator_of(task)
    tuned = tune_generator(
        task, prior, generator=generator, meter=meter, observer=observer, settings=TuningSettings()
    ).prior
    settings = recipe(task)
    objective = likelihood(task, settings)
    with torch.no_grad():
        samples = tuned.decode(tuned.sample_latents(256, generator)).clamp(0.0, 1.0)
    second = search_latents(task, tuned, objective, generator, meter, observer, settings)
    with torch.no_grad():
        start = task.space.encode(tuned.decode(second.latents).clamp(0.0, 1.0))
    steps, cooler = max(2, round((1.0 - LATENT_SHARE) * task.budget.steps)), COOLER * settings.hottest
    descent = Descent("stage 3: full rank", steps, replace(settings, hottest=cooler), meter, observer)
    third = refine(task, task.space, start.clamp(-3.0, 3.0), objective, descent)
    with torch.no_grad():
        images = task.space.decode(third.latents)
    path = [*second.trajectory, *((step + len(second.trajectory), energy) for step, energy in third.trajectory)]
    return finish(task, images, objective, path, meter, worst(second, third), tuned_samples=samples)


def worst(*stages: Refined) -> StoppedBy:
    """Why the attack ended: COMPLETE only if every stage was, else the reason of the first that was not."""
    return next((s.stopped_by for s in stages if s.stopped_by is not StoppedBy.COMPLETE), StoppedBy.COMPLETE)
