"""Small networks and comparisons that the tests of identification share."""

from __future__ import annotations

import random
from math import prod

import torch
import torchvision
from torch import Tensor, nn

from reid_audit.arch import catalogue, match
from reid_audit.arch.index import Entry, shipped

State = dict[str, Tensor]


def small_entries(count: int) -> list[Entry]:
    """A seeded sample of installed networks with under six million parameters and an input of at most 256 pixels."""
    index = shipped()
    installed = {library: set(catalogue.names(library)) for library in catalogue.LIBRARIES}
    small = [
        entry
        for entry in index.entries
        if entry.side <= 256
        and entry.name in installed[entry.library]
        and entry.head
        and not entry.segmentation
        and sum(prod(shape) for shape, _ in index.described(entry).values()) < 6e6
    ]
    return random.Random(7).sample(small, min(count, len(small)))


def same_network(state: State, entry: Entry) -> bool:
    """Identified as the entry, or as one that is the same by shape."""
    found = match(state)
    ties = {c.name for c in found.candidates if c.coverage >= found.coverage}
    return found.name == entry.name or entry.name in ties


def run(module: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = module.eval()(images)
    return output


def images_for(channels: int, side: int) -> Tensor:
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(1))


def resnet(**changes: nn.Module) -> nn.Module:
    module: nn.Module = torchvision.models.resnet18(num_classes=2)
    for name, new in changes.items():
        setattr(module, name, new)
    return module
