"""A network, films and a prior small enough to attack within a test."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import Declaration
from reid_audit.attack.interface import AttackTask
from reid_audit.prior.gaussian import fit_gaussian
from reid_audit.records import ArchMatch, Budget, PreprocessSpec

SIDE = 12
SPEC = PreprocessSpec(side=SIDE, mean=(0.5,), std=(0.5,))


def blobs(n: int, seed: int) -> Tensor:
    """[n, 1, SIDE, SIDE] smooth random images in [0, 1]."""
    noise = torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(noise, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)


def convnet(seed: int = 0, normalised: bool = True) -> nn.Module:
    """Three convolutions, two of them strided, with BatchNorm that has seen some images, or without."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inside, outside, stride in ((1, 32, 1), (32, 48, 2), (48, 64, 2)):
        layers.append(nn.Conv2d(inside, outside, 3, stride, 1, bias=False))
        layers += [nn.BatchNorm2d(outside)] if normalised else []
        layers.append(nn.ReLU())
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        network(2.0 * blobs(8, 77) - 1.0)
    return network


def memorise(module: nn.Module, inputs: Tensor, steps: int = 120) -> nn.Module:
    """Full-batch training whose rate falls to zero, so that the running statistics are those of ``inputs``."""
    labels = torch.arange(len(inputs)) % 2
    optimiser = torch.optim.Adam(module.train().parameters(), lr=1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * max(0.0, 1 - step / (steps - 60))
        loss = functional.cross_entropy(module(inputs), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return module.eval().requires_grad_(False)


def target_of(module: nn.Module) -> Target:
    """The network as an identified target."""
    match = ArchMatch(name="small", library="tests", family="convnet", coverage=1.0, classes=2, channels=1, side=SIDE)
    return Target(module.eval().requires_grad_(False), match)


def task_of(module: nn.Module, *, steps: int = 60, particles: tuple[int, ...] = (4, 8)) -> AttackTask:
    """An attack on ``module`` under a Gaussian prior fitted on other images."""
    prior = fit_gaussian(blobs(300, 99), Declaration("blobs", ("blobs",)), torch.Generator().manual_seed(0))
    return AttackTask(target_of(module), prior, prior, SPEC, Budget(steps=steps, particles=particles))
