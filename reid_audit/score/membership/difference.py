"""Difference: gradient descent moves a linear layer only along what the layer was fed.

    dW = sum_t g_t a_t^T,    share(x) = mean_p |P a_p(x)|^2 / |a_p(x)|^2,    score = max_l of shares, standardised

P projects onto the row space of dW = W - W_base, a_p(x) is what layer l is fed at position p of image x.

The gradient of y = W a is a sum of outer products of output gradients and inputs, so each step, and the sum of all
steps, has its rows in the span of the training inputs (Geiping et al. 2020, prop. 3.1; a span check on low-rank
gradients: Petrov et al., DAGER, NeurIPS 2024), whatever the number of steps, the rates and the labels were. This is
exact where the inputs do not move with the weights (a patch embedding is fed pixels), close to it behind, and blurred
by optimisers that scale every weight by itself, such as Adam.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_audit.budget import Pace
from reid_audit.network.difference import Displacement
from reid_audit.network.layers import inputs_of, matrix_layers, watched
from reid_audit.network.reading import Inputs

WIDEST = 1024
"""Columns of a weight; the eigenvectors of wider ones cost more than they tell."""
NARROWEST = 17
"""Weights of fewer rows or columns span everything or nothing."""
POSITIONS = 64
"""Positions of an image looked at in each layer, evenly spaced."""
FLOOR = 1e-5
"""Noise added to the variances of a layer's inputs, in their mean."""
SHARP = 1e-4
"""Square of the singular value whose direction counts half, in that of the largest."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSpace:
    """Directions in which one weight moved, in coordinates where the inputs of the prior vary alike in all."""

    whiten: Tensor
    """[D, D] inverse square root of the second moments of the prior's inputs."""
    moved: Tensor
    """[D, R] orthogonal directions, each as long as the root of how much it counts (0 to 1)."""

    def share(self, inputs: Tensor) -> Tensor:
        """[N] share of the squared length of inputs [N, P, D] that lies within, mean over positions; 0 to 1."""
        white = inputs @ self.whiten
        within = (white @ self.moved).square().sum(-1)
        return (within / white.square().sum(-1).clamp_min(1e-20)).mean(1)


def row_space(moved: Tensor, second: Tensor) -> RowSpace:
    """The row space of ``moved`` [O, D], a weight's way; ``second`` [D, D]: mean a a^T of the prior's inputs a."""
    variances, axes = torch.linalg.eigh(second.double())
    variances = variances.clamp_min(0.0) + FLOOR * variances.mean().clamp_min(1e-12)
    whiten = axes * variances.rsqrt() @ axes.T
    _, lengths, rows = torch.linalg.svd(moved.double() @ whiten, full_matrices=False)
    counts = lengths.square() / (lengths.square() + SHARP * lengths[0].square())
    return RowSpace(whiten.to(moved), (rows.T * counts.sqrt()).to(moved))


def spans(path: Displacement, inputs: Inputs, prior: Iterable[Tensor], pace: Pace) -> Tensor | None:
    """[N] how far images lie within the row spaces of what fine-tuning moved; larger is more member-like.

    The largest over layers of an image's share, in standard deviations of the prior's: layers that tell nothing stay
    small. Batches of ``prior`` [B, C, H, W] as the network sees them. None where no layer that could tell has moved.
    Raises OutOfTime.
    """
    names = telling(path, inputs.probe())
    if not names:
        return None
    ordinary = list(pace.over("membership: ordinary images", prior))
    second = second_moments(path.module, names, ordinary)
    spaces = {name: row_space(path.moved[f"{name}.weight"].flatten(1), second[name]) for name in names}
    null = shares(path.module, spaces, ordinary)
    stage = "membership: row spaces"
    found = shares(path.module, spaces, pace.over(stage, inputs.batches(), len(inputs), size=len))
    deviations = (found - null.mean(1, keepdim=True)) / null.std(1, keepdim=True).clamp_min(1e-6)
    return deviations.max(0).values


def telling(path: Displacement, probe: Tensor) -> tuple[str, ...]:
    """Names of the layers whose weights moved and are neither too narrow nor too wide."""
    return tuple(
        name
        for name in matrix_layers(path.module, probe)
        if (step := path.moved.get(f"{name}.weight")) is not None
        and min(step.flatten(1).shape) >= NARROWEST
        and step[0].numel() <= WIDEST
    )


def second_moments(module: nn.Module, names: tuple[str, ...], batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """[D, D] mean of a a^T over the positions of images, for each named layer."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, layer: nn.Module, given: Tensor, _: Tensor) -> None:
        rows = spaced_inputs(layer, given).flatten(0, 1)
        sums[name] = sums.get(name, 0.0) + rows.T @ rows
        counts[name] = counts.get(name, 0) + len(rows)

    with torch.no_grad(), watched(module, names, add):
        for batch in batches:
            module(batch)
    return {name: total / counts[name] for name, total in sums.items()}


def shares(module: nn.Module, spaces: dict[str, RowSpace], batches: Iterable[Tensor]) -> Tensor:
    """[L, N] share of each image within each layer's row space."""
    found: dict[str, list[Tensor]] = {name: [] for name in spaces}

    def add(name: str, layer: nn.Module, given: Tensor, _: Tensor) -> None:
        found[name].append(spaces[name].share(spaced_inputs(layer, given)))

    with torch.no_grad(), watched(module, tuple(spaces), add):
        for batch in batches:
            module(batch)
    return torch.stack([torch.cat(parts) for parts in found.values()])


def spaced_inputs(layer: nn.Module, given: Tensor) -> Tensor:
    """[N, <= POSITIONS, D] a layer's inputs at evenly spaced positions, a few images at a time: all would be large."""
    return torch.cat([spaced(inputs_of(layer, part)) for part in torch.split(given, 4)])


def spaced(inputs: Tensor) -> Tensor:
    """[N, <= POSITIONS, D] evenly spaced positions of inputs [N, P, D]."""
    positions = inputs.shape[1]
    if positions <= POSITIONS:
        return inputs
    return inputs[:, torch.linspace(0, positions - 1, POSITIONS, device=inputs.device).long()]
