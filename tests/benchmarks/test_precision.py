"""Precision and recall of samples beside real images."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.lab.precision import precision_recall


def normal(n: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_precision_and_recall_name_what_fails() -> None:
    real = torch.cat([normal(200), normal(200, 20.0, seed=1)])
    collapsed, scattered = normal(400, seed=2), torch.cat([real[:200] + 0.01, normal(200, 60.0, seed=3)])
    precision, recall = precision_recall(real, collapsed)
    assert precision > 0.9
    assert recall < 0.6
    assert precision_recall(real, scattered)[0] < 0.6
