"""``noise-bn``: Gaussian noise on the stored statistics, as much as hides one patient's part in them.

    s' = s + sigma N(0, 1),    sigma = k w D / mu,    mu = z(0.05) - z(0.01) = 0.68

The Gaussian mechanism in terms of a test (Dong, Roth, Su, Gaussian Differential Privacy, JRSS B 2022): who has to tell
whether a patient's films are part of the statistics then has at most 5 % true positives at 1 % false ones. s are all
means and variances in units of the stored deviations, k is how many films a patient has at most, w the largest weight
one film has in them, D the largest distance between two films' own moments, measured on public films.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from scipy.stats import norm
from torch import Tensor

from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import layers_with_statistics, owned
from reid_audit.network.batchnorm import ImageMoments
from reid_audit.network.reading import Inputs, read_moments

NAME = "noise-bn"
RECOGNISED, ALARMS = 0.05, 0.01
"""True positives allowed at so many false ones: the limit of the default policy."""
BATCHES = (8, 16, 32, 64)
"""Training batch sizes that are thought of; the one in which a film weighs most counts."""
LEAST = 0.05
"""Share of a variance that noise leaves at least."""


def noise_statistics(found: Copy, given: Given) -> Copy:
    """The copy with noise on every running mean and variance.

    Raises MitigationError where the number of training films is not known.
    """
    target, public = owned(found), given.films(NAME)
    layers = layers_with_statistics(target.module, NAME)
    if given.members is None:
        raise MitigationError(
            "noise-bn has to know how many films the network was trained on",
            closest="no training films were given",
            remedy="give them with --reference",
        )
    seen = read_moments(target.module, Inputs(public.images, given.prepare), given.pace, stage=f"{NAME}: moments")
    momentum = max(0.1 if layer.momentum is None else float(layer.momentum) for _, layer in layers)
    weight, apart = weight_of_a_film(given.members, momentum), widest(seen)
    sigma = given.each * weight * apart / separation(RECOGNISED, ALARMS)
    generator = given.generator()
    with torch.no_grad():
        for _, layer in layers:
            mean, variance = layer.running_mean, layer.running_var
            if mean is None or variance is None:
                continue
            draw = torch.randn(2, mean.numel(), generator=generator).to(mean)
            mean.add_(sigma * (variance + layer.eps).sqrt() * draw[0])
            variance.mul_((1.0 + sigma * draw[1]).clamp_min(LEAST))
    count = 2 * sum(layer.first.shape[1] for layer in seen)
    said = (
        f"noise of {sigma:.2g} stored deviations on each of {count:,} statistics: a film weighs at most "
        f"1/{1 / weight:.0f} in them, two films lie at most {apart:.0f} deviations apart, a patient has at most "
        f"{given.each}"
    )
    return replace(found, target=target, done=(*found.done, said))


def separation(recognised: float, alarms: float) -> float:
    """mu of Gaussian differential privacy at which a test with so many false ``alarms`` tells this share."""
    return float(norm.ppf(recognised) - norm.ppf(alarms))


def weight_of_a_film(members: int, momentum: float) -> float:
    """The largest weight of one film in a running average, over the training batch sizes thought of.

    A film seen last weighs momentum / batch, and (1 - momentum)^k of that for k batches before: summed over epochs of
    members / batch batches it is (momentum / batch) / (1 - (1 - momentum)^(members / batch)).
    """
    sizes = [min(size, members) for size in BATCHES]
    return max(momentum / size / (1.0 - math.pow(1.0 - momentum, members / size)) for size in sizes)


def widest(layers: list[ImageMoments]) -> float:
    """Largest distance between two images' moments over all layers, in units of the stored deviations."""
    parts: list[Tensor] = []
    for layer in layers:
        variance = layer.stored.variance + layer.stored.eps
        parts += [layer.first / variance.sqrt(), layer.second / variance]
    seen = torch.cat(parts, dim=1).double()
    return float(torch.cdist(seen, seen, compute_mode="donot_use_mm_for_euclid_dist").max())


MITIGATION = Mitigation(
    idea="Add Gaussian noise to the BatchNorm statistics, as much as hides one patient's part in them.",
    source="Dong, Roth and Su, JRSS B 2022 (Gaussian differential privacy)",
    remains=(
        "It is not differential privacy of the network: the weights carry no noise, and what they remember stays.",
        "The distance between films is measured on public films and not proved: a film unlike all of them moves the "
        "statistics further than the noise allows for.",
        "It hides one patient in the statistics, not several patients together.",
    ),
    effect="blunts",
    apply=noise_statistics,
    public=True,
)
