"""`latent`: the likelihood of samples is maximised over a generator's latents; also the middle stage of `two-stage`."""

from __future__ import annotations

import torch
from torch import Tensor

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import likelihood, recipe
from reid_audit.attack.objectives import Objective
from reid_audit.attack.refinement import Descent, Refined, RefineSettings, finish, refine
from reid_audit.budget import Meter
from reid_audit.errors import PriorError
from reid_audit.observer import Observer
from reid_audit.prior.interface import Prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.resampling import ResampledPrior

SEARCH = 2048
"""Random latents among which the search begins."""
LATENT_SHARE = 0.25
"""Share of the steps spent on latents; the full-rank refinement of `two-stage` has the rest."""


def latent(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """Maximise the likelihood of samples over the latents of the generator as published; [sum(particles), C, H, W].

    Raises PriorError where the prior is no generator of the network's input size.
    """
    prior = generator_of(task)
    settings = recipe(task)
    objective = likelihood(task, settings)
    found = search_latents(task, prior, objective, generator, meter, observer, settings)
    with torch.no_grad():
        images = prior.decode(found.latents)
    return finish(task, images, objective, found.trajectory, meter, found.stopped_by)


def search_latents(
    task: AttackTask,
    prior: Prior,
    objective: Objective,
    generator: torch.Generator,
    meter: Meter,
    observer: Observer,
    settings: RefineSettings,
) -> Refined:
    """Stage 2 takes the best of ``SEARCH`` random latents by the energy of single images, then follows Adam."""
    particles = sum(task.budget.particles)
    candidates = prior.sample_latents(max(SEARCH, 4 * particles), generator)
    with torch.no_grad():
        energies = torch.cat(
            [objective.image_energy(task.inputs(prior.decode(part))) for part in torch.split(candidates, 128)]
        )
    best = spread_out(energies, particles, generator)
    steps = max(2, round(LATENT_SHARE * task.budget.steps))
    descent = Descent("stage 2: latents", steps, settings, meter, observer)
    return refine(task, prior, candidates[best], objective, descent)


def spread_out(energies: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """[count] indices drawn at random from the quarter of ``energies`` [N] that is lowest: the batch stays diverse."""
    lowest = energies.argsort()[: max(count, len(energies) // 4)]
    order = torch.randperm(len(lowest), generator=generator, device=generator.device)[:count]
    return lowest[order.to(lowest.device)]


def generator_of(task: AttackTask) -> PgganPrior:
    """The task's generator. Raises PriorError where the prior is Gaussian, or was made for another size."""
    if isinstance(task.prior, PgganPrior):
        return task.prior
    closest = f"{task.prior.card.kind} prior {task.prior.card.id}"
    if isinstance(task.prior, ResampledPrior):
        closest += f" at {task.prior.card.side} px"
    raise PriorError(
        "this method needs a generator (PGGAN) of the network's input size",
        closest=closest,
        remedy="train one with 'reid-audit prior train', or use --method moments",
    )
