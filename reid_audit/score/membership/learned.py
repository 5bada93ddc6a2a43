"""Learned: what training on a film changes in what a network shows of it, learned on pairs of reference models.

    d(x) = z_i(x) - z_j(x)                                        where reference i was trained on x and j was not
    w = argmin_w  mean log (1 + exp(-w . d)) + ridge |w|^2 / 2
    score(x) = w . (z(x) - a - b * mean_k z_k(x))

z(x) is whatever is looked at, in standard deviations over the films; a and b are the least squares fit of each column
to the mean of the references. The attack of Nasr, Shokri and Houmansadr (S&P 2019) asked of pairs, in which the film's
difficulty cancels. Who was in the references' training is known; who was in that of the audited network plays no role.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from reid_audit.score.calibration import Bools, Floats


def learned(target: Floats, references: Floats, inside: Bools, *, ridge: float) -> Floats | None:
    """[N] larger is more member-like, 0 in the mean; None where no film was in one reference and not in another.

    target [N, D] and references [K, N, D]: what the audited network and the references show of each film; inside [K, N]
    whether a film was in the training of a reference.
    """
    pairs = differences(references, inside)
    if not len(pairs):
        return None
    own, usual = standard(target), np.stack([standard(one) for one in references]).mean(axis=0)
    slope = (own * usual).sum(axis=0) / np.maximum((usual * usual).sum(axis=0), 1e-12)
    return np.asarray((own - slope * usual) @ weights(pairs, ridge))


def differences(references: Floats, inside: Bools) -> Floats:
    """[M, D] d(x) for each film and each pair of references of which one was trained on it."""
    alike, found = np.stack([standard(one) for one in references]), [np.zeros((0, references.shape[-1]))]
    for i, j in itertools.combinations(range(len(alike)), 2):
        rows = np.flatnonzero(inside[i] != inside[j])
        sign = np.where(inside[i, rows], 1.0, -1.0)[:, None]
        found.append(sign * (alike[i, rows] - alike[j, rows]))
    return np.concatenate(found)


def weights(pairs: Floats, ridge: float) -> Floats:
    """[D] w of differences [M, D]."""

    def loss(w: Floats) -> tuple[float, Floats]:
        slope = ridge * w - (pairs * expit(-pairs @ w)[:, None]).mean(axis=0)
        return 0.5 * ridge * float(w @ w) - likelihood(pairs, w) / len(pairs), slope

    return np.asarray(minimize(loss, np.zeros(pairs.shape[1]), jac=True, method="L-BFGS-B").x)


def likelihood(pairs: Floats, w: Floats) -> float:
    """Log likelihood, in nats, of which reference of each pair was trained on the film."""
    return float(-np.logaddexp(0.0, -pairs @ w).sum())


def standard(values: Floats) -> Floats:
    """Columns of values [N, D] in standard deviations from their means."""
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))
