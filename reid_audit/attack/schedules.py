"""Schedules of rates, temperatures and noise: lists of values, computed before the loop that follows them."""

from __future__ import annotations

import math


def cosine_ramp(steps: int, *, peak: float, warmup: float = 0.02, final: float = 0.02) -> list[float]:
    """[steps] learning rates: a linear rise over the share ``warmup``, then a cosine down to ``final * peak``."""
    rise = max(1, round(warmup * steps))
    rates = []
    for step in range(steps):
        if step < rise:
            rates.append(peak * (step + 1) / rise)
            continue
        phase = (step - rise) / max(1, steps - rise - 1)
        rates.append(peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, phase)))))
    return rates


def tempering(steps: int, *, start: float = 1e4, end: float = 0.05, share: float = 0.8) -> list[float]:
    """[steps] temperatures that fall geometrically from ``start`` to ``end`` over ``share`` of the steps, then stay."""
    span = max(1, round(share * steps) - 1)
    ratio = math.log(end / start)
    return [start * math.exp(ratio * min(1.0, step / span)) for step in range(steps)]


def noise_floors(layers: int, *, first: float = 1e-6, last: float = 1e-2) -> list[float]:
    """[layers] noise variances in execution order, rising geometrically: early layers are the most exact."""
    if layers == 1:
        return [first]
    return [first * (last / first) ** (layer / (layers - 1)) for layer in range(layers)]
