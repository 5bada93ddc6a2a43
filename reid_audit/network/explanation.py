"""Which of given images together explain what the weights store: constrained least squares on their Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from reid_audit.budget import Pace, unhurried
from reid_audit.network.batchnorm import ImageMoments
from reid_audit.observer import Noted

Floats = NDArray[np.float64]
Projection = Callable[[Floats], Floats]
STAGE = "membership: explanation"
LOOK = 64
"""Steps between two looks at the clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Non-negative weights of candidate images whose weighted mean is closest to what is stored."""

    weights: Floats
    """[N], sum 1."""
    evidence: Floats
    """[N] the weight where it is positive, else how far the image is from entering the solution (negative)."""
    residual: float
    """Unexplained share of the goal's squared deviation from the candidates' mean (0: explained entirely)."""
    unexplained: float
    """The same deviation itself: for each layer the mean square, in the candidates' spread, added over layers."""

    @property
    def explaining(self) -> float:
        """Effective number of candidates that carry the weight (1 / sum of squares)."""
        return float(1.0 / np.sum(self.weights**2))


@dataclass(frozen=True, slots=True, eq=False)
class NormalEquations:
    """The products that least squares over weights w needs: |sum_i w_i x_i - goal|^2 = w'Gw - 2 l'w + constant."""

    gram: Floats
    """[N, N]"""
    linear: Floats
    """[N]"""
    constant: float

    @classmethod
    def of_moments(cls, blocks: Iterable[tuple[Floats, Floats]], *, rough: bool = False) -> NormalEquations:
        """The equations of BatchNorm layers, each given by the candidates' moments [N, 2 C] and the stored ones [2 C].

        Columns are scaled to unit spread over the candidates, and every layer counts equally. ``rough`` computes in
        float32, in half the time, with residuals good to 1e-5.
        """
        kind: type[np.floating[Any]] = np.float32 if rough else np.float64
        gram: NDArray[Any] = np.zeros((0, 0))
        linear: NDArray[Any] = np.zeros(0)
        constant = 0.0
        for moments, stored in blocks:
            if not linear.size:
                gram, linear = np.zeros((len(moments), len(moments)), kind), np.zeros(len(moments), kind)
            centre, spread = moments.mean(axis=0), moments.std(axis=0)
            used = spread > 1e-7 * max(float(spread.max(initial=0.0)), 1e-12)
            if not used.any():
                continue
            scale = spread[used] * np.sqrt(used.sum())
            rows = (((moments - centre)[:, used]) / scale).astype(kind)
            goal = ((stored - centre)[used] / scale).astype(kind)
            gram += rows @ rows.T
            linear += rows @ goal
            constant += float(goal @ goal)
        return cls(gram, linear, constant)

    def error(self, weights: Floats) -> float:
        """Unexplained share of the goal for weights [N], at least 0."""
        return self.deviation(weights) / max(self.constant, 1e-12)

    def deviation(self, weights: Floats) -> float:
        """Squared distance to the goal for weights [N]."""
        value = weights @ self.gram @ weights - 2 * self.linear @ weights + self.constant
        return max(0.0, float(value))


def statistics_equations(
    layers: Iterable[ImageMoments], batch: int, *, rough: bool = False, pace: Pace | None = None
) -> NormalEquations:
    """What the images' moments would have to add up to, had training used batches of ``batch``. Raises OutOfTime."""

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for layer in layers:
            (pace or unhurried()).check(STAGE)
            moments = torch.cat([layer.first, layer.second], dim=1).double().cpu().numpy()
            variance, unknown = layer.stored.variance.double().cpu().numpy(), np.zeros(layer.stored.mean.numel())
            yield moments, stored_moments(unknown, variance, layer.positions, batch)

    return NormalEquations.of_moments(blocks(), rough=rough)


def stored_moments(mean: Floats, variance: Floats, positions: int, batch: int) -> Floats:
    """[2 C] the first and second moments that a BatchNorm layer's running statistics stand for.

    PyTorch stores the unbiased variance: the second moment is variance * (N - 1) / N + mean ** 2 with
    N = batch * positions values per channel.
    """
    values = max(2, batch * positions)
    return np.concatenate([mean, variance * (values - 1) / values + mean**2])


def explain(
    equations: NormalEquations, *, steps: int = 3000, least: int | None = None, pace: Pace | None = None
) -> Explanation:
    """Which candidates explain the statistics: min |sum_i w_i m_i - stored|^2 with w >= 0 and sum w = 1.

    least: steps after which a solution that time ends counts; the observer is told. Raises OutOfTime before that, and
    where it is None.
    """
    step = _step(equations)
    weights = _minimise(equations, _onto_simplex, step, (steps, least or steps), pace or unhurried())
    gradient = equations.gram @ weights - equations.linear
    support = weights > 0
    level = float(np.average(gradient[support], weights=weights[support]))
    evidence = np.where(support, weights, np.minimum(0.0, -step * (gradient - level)))
    return Explanation(
        weights=weights,
        evidence=evidence,
        residual=equations.error(weights),
        unexplained=equations.deviation(weights),
    )


def explain_direction(equations: NormalEquations, *, steps: int = 3000, pace: Pace | None = None) -> Floats:
    """[N] evidence that an image's direction is part of the goal's: min |sum_i w_i x_i - goal|^2 with w >= 0.

    It is the weight where that is positive, else how far the image is from entering the solution, as a negative number.
    Raises OutOfTime.
    """
    step = _step(equations)
    weights = _minimise(equations, lambda values: np.maximum(values, 0.0), step, (steps, steps), pace or unhurried())
    gradient = equations.gram @ weights - equations.linear
    return np.where(weights > 0, weights, np.minimum(0.0, -step * gradient))


def _step(equations: NormalEquations) -> float:
    """One over the largest eigenvalue of the Gram matrix, by Lanczos iteration from a fixed start."""
    n = equations.linear.size
    if n < 3 or not equations.gram.any():
        return 1.0 / max(float(np.linalg.eigvalsh(equations.gram)[-1]), 1e-12)
    start = np.random.default_rng(0).standard_normal(n)
    largest = eigsh(equations.gram, k=1, which="LA", v0=start, return_eigenvectors=False)
    return 1.0 / max(float(largest[0]), 1e-12)


def _minimise(
    equations: NormalEquations, project: Projection, step: float, limits: tuple[int, int], pace: Pace
) -> Floats:
    """argmin_w w'Gw/2 - b'w over a convex set: accelerated projected gradient.

    Restarts after O'Donoghue and Candes (2015). limits: the most steps, and how many are enough where time ends.
    """
    steps, least = limits
    n = equations.linear.size
    weights = ahead = np.full(n, 1.0 / n, dtype=equations.gram.dtype)
    momentum = 1.0
    for turn in range(steps):
        if turn % LOOK == 0 and turn < least:
            pace.check(STAGE)
        elif turn % LOOK == 0 and pace.meter.exhausted() is not None:
            pace.observer.notice(Noted(f"{STAGE}: {turn} of at most {steps} steps, to fit the budget"))
            break
        moved = project(ahead - step * (equations.gram @ ahead - equations.linear))
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if (ahead - moved) @ (moved - weights) > 0:
            following, momentum = 1.0, 1.0
        change = moved - weights
        ahead = moved + (momentum - 1) / following * change
        weights, momentum = moved, following
        if np.abs(change).max() < 1e-10:
            break
    return weights


def _onto_simplex(values: Floats) -> Floats:
    """Euclidean projection onto {w >= 0, sum w = 1} (Held, Wolfe and Crowder 1974).

    A constant added to all values changes nothing; without the largest one, rounding cannot swallow the 1.
    """
    values = values - values.max()
    ordered = np.sort(values)[::-1]
    sums = np.cumsum(ordered) - 1.0
    last = np.flatnonzero(ordered > sums / np.arange(1, values.size + 1))[-1]
    return np.asarray(np.maximum(values - sums[last] / (last + 1), 0.0))
