"""What a search makes of sides that a network refuses, and of a machine without memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import unhurried
from reid_audit.network.search import Search
from reid_audit.records import ArchMatch, PreprocessSpec


class Refusing(nn.Module):
    """Ends every pass with the same words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.weight, self.words = nn.Parameter(torch.zeros(1)), words

    def forward(self, _: Tensor) -> Tensor:
        raise RuntimeError(self.words)


def search(words: str) -> Search:
    match = ArchMatch(name="small", library="tests", family="convnet", coverage=1.0, classes=2, channels=1, side=32)
    return Search(Target(Refusing(words), match), lambda *_: torch.zeros(1, 1, 32, 32), unhurried(), "tests")


def test_a_side_that_the_network_does_not_take_fits_nothing() -> None:
    assert search("Input height (32) doesn't match model (224).").misfit(PreprocessSpec(side=32)) == math.inf


def test_want_of_memory_is_no_side_that_is_not_taken() -> None:
    with pytest.raises(RuntimeError, match="allocate memory"):
        search("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes").misfit(
            PreprocessSpec(side=32)
        )
