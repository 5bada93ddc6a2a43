"""`pixel`: DeepInversion (Yin et al. 2020, eq. 1 to 4). Class confidence, total variation and BatchNorm statistics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from reid_audit.attack.generator_tuning import total_variation
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import likelihood
from reid_audit.attack.refinement import RefineSettings, finish
from reid_audit.attack.schedules import cosine_ramp
from reid_audit.budget import Meter
from reid_audit.network.batchnorm import ImageMoments, moments_and_output
from reid_audit.network.heads import logits_of
from reid_audit.observer import Observer, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import StoppedBy

STAGE = "pixels"
TV, STATISTICS = 1e-4, 10.0


def pixel(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """Optimise pixels from noise around mid-grey; [sum(particles), C, H, W] images.

    The loss adds the cross-entropy to balanced classes, the total variation and the distance of the statistics.
    """
    shape = task.space.mean.shape
    count = sum(task.budget.particles)
    noise = torch.randn(count, *shape, generator=generator, device=generator.device)
    images = (0.5 + 0.1 * noise).to(task.space.mean.device).requires_grad_(True)
    optimiser = torch.optim.Adam([images], lr=0.05, betas=(0.5, 0.9))
    trajectory: list[tuple[int, float]] = []
    stopped = StoppedBy.COMPLETE
    observer.notice(StageStarted(STAGE, task.budget.steps))
    for step, rate in enumerate(cosine_ramp(task.budget.steps, peak=0.05)):
        optimiser.param_groups[0]["lr"] = rate
        loss = inversion_loss(task, images)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        with torch.no_grad():
            images.clamp_(0.0, 1.0)
        trajectory.append((step, float(loss.detach())))
        observer.notice(StageAdvanced(STAGE, step + 1, trajectory[-1][1]))
        ended = meter.tick()
        if ended is not None and step < task.budget.steps - 1:
            stopped = ended
            break
    observer.notice(StageEnded(STAGE, f"loss {trajectory[0][1]:.3g} to {trajectory[-1][1]:.3g}"))
    return finish(task, images, likelihood(task, RefineSettings()), trajectory, meter, stopped)


def inversion_loss(task: AttackTask, images: Tensor) -> Tensor:
    """The DeepInversion objective (scalar) of a batch of images [N, C, H, W] in [0, 1]."""
    loss = TV * total_variation(images)
    layers, output = moments_and_output(task.target.module, task.inputs(images))
    if layers:
        loss = loss + STATISTICS * torch.stack([distance(layer) for layer in layers]).sum()
    if task.target.match.head == "softmax":
        logits = logits_of(output)
        loss = loss + functional.cross_entropy(
            logits, torch.arange(len(images), device=images.device) % logits.shape[1]
        )
    return loss


def distance(layer: ImageMoments) -> Tensor:
    """Euclidean distance of a layer's means from the stored ones, plus that of its variances (eq. 4); a scalar."""
    mean = layer.first.mean(0)
    variance = layer.second.mean(0) - mean.square()
    drift: Tensor = torch.linalg.vector_norm(mean) + torch.linalg.vector_norm(variance - layer.stored.variance)
    return drift
