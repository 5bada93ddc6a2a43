"""A network that embeds films: trained to tell patients apart, on public films that no benchmark's cohort holds.

    loss_i = -mean over j of the same patient log softmax_j(cos(e_i, e_j) / temperature)

Supervised contrastive learning (Khosla et al. 2020, eq. 2). It stands for a foundation encoder, and for a
re-identification encoder, where none can be fetched.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.training import augmented, on_its_device
from reid_audit.cohort import Cohort

BATCH, RATE, TEMPERATURE = 96, 1e-3, 0.1


def backbone() -> nn.Module:
    """A ResNet-18 without a classifier: 512 numbers a film."""
    network: nn.Module = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def contrastive_loss(embedded: Tensor, patients: Tensor) -> Tensor:
    """Scalar, from embeddings [N, D] and the number of each one's patient [N], who has two or more of them."""
    unit = functional.normalize(embedded, dim=1)
    alike = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-1e4)
    same = (patients[:, None] == patients[None]).fill_diagonal_(False)
    chances = alike.log_softmax(dim=1)
    return -((chances * same).sum(dim=1) / same.sum(dim=1)).mean()


def embedding_network(
    films: Cohort, *, epochs: int, seed: int, noted: Callable[[int, float], None] = lambda *_: None
) -> nn.Module:
    """The network after ``epochs`` over two augmented copies of every film; ``noted`` hears epoch and mean loss."""
    torch.manual_seed(seed)
    draws, order = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    module, project = backbone().train(), nn.Linear(512, 128)
    steps = epochs * -(-len(films.images) // BATCH)
    optimiser = torch.optim.Adam([*module.parameters(), *project.parameters()], lr=RATE, weight_decay=1e-5)
    ramp = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    owners = torch.from_numpy(films.patient_index())
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(owners), generator=order), BATCH):
            twice = torch.cat([augmented(films.images[rows], draws) for _ in range(2)])
            inputs, numbers = on_its_device(module, twice, owners[rows].repeat(2))
            loss = contrastive_loss(project(module(inputs)), numbers)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            ramp.step()
            total += float(loss.detach()) * len(rows)
        noted(epoch, total / len(owners))
    return module.eval()
