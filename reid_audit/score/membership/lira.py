"""LiRA: the likelihood ratio of a film's log odds under networks with and without it.

    score(x) = log N(phi; mu_in(x), s_in^2) - log N(phi; mu_out(x), s_out^2)      online
    score(x) = (phi - mu_out(x)) / s_out                                          offline, where no reference has x

Carlini et al., "Membership Inference Attacks From First Principles" (S&P 2022). The variances are shared by all films
(their section 6.4: with few references a film's own variance is noise).
"""

from __future__ import annotations

import numpy as np

from reid_audit.score.calibration import Floats
from reid_audit.score.membership.observed import Observed

NARROWEST = 1e-3
"""Least deviation, in nats."""


def lira(seen: Observed) -> Floats:
    """[N] larger is more member-like. Films that no reference, or every one, was trained on are shifted by what
    training on a film changes on average."""
    inside, outside = seen.mean_inside(), seen.mean_outside()
    both = ~np.isnan(inside) & ~np.isnan(outside)
    if not both.any():
        centre = np.where(np.isnan(outside), inside, outside)
        return np.asarray((seen.target - centre) / _deviation(seen.references - centre))
    gained = float((inside - outside)[both].mean())
    inside = np.where(np.isnan(inside), outside + gained, inside)
    outside = np.where(np.isnan(outside), inside - gained, outside)
    wide_in = _spread(seen.references, inside, seen.inside)
    wide_out = _spread(seen.references, outside, ~seen.inside)
    z_in, z_out = (seen.target - inside) / wide_in, (seen.target - outside) / wide_out
    return np.asarray(0.5 * (z_out**2 - z_in**2) + np.log(wide_out / wide_in))


def _spread(values: Floats, centre: Floats, chosen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Deviation within films of the references ``chosen``, each mean costing a degree of freedom; where no film has two
    of them, the deviation between films, which is wider."""
    counts = chosen.sum(axis=0)
    free = int((counts - 1).clip(0).sum())
    if free == 0:
        return _deviation(values[chosen])
    squares = np.where(chosen, (values - centre) ** 2, 0.0)[:, counts > 1].sum()
    return max(NARROWEST, float(np.sqrt(squares / free)))


def _deviation(values: Floats) -> float:
    return max(NARROWEST, float(values.std()))
