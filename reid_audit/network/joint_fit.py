"""Grey values, and which films a network remembers, are fitted in turn: each makes the other sharper.

A network that knows a few films by heart stores the statistics of those few, not of all films at hand, and a fit to all
of them would carry the difference into the values. Under values that are nearly right it can be said which films
together explain the statistics (explanation.py); with those films' weights the values come out right. Nothing here
knows who is a member.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.network.explanation import Explanation, explain, statistics_equations
from reid_audit.network.familiarity import first_layers
from reid_audit.network.stem import Stem, Stems, read_stems
from reid_audit.network.values import EITHER, Inverts, fit_values, with_values
from reid_audit.preprocess import prepared, to_network
from reid_audit.records import PreprocessSpec

ROUNDS, LESS = 6, 0.98
"""Rounds at most, and how much less than before has to stay unexplained for another."""
LAYERS = 5
"""Statistics layers that are explained: enough to tell films apart, few enough to be cheap."""
BATCH = 32
"""Training batch assumed for the variances' correction, which is small in early layers."""
STEPS = 400
SHOWN = 64
"""Films that tell whether they were inverted."""
ALIKE = 2.0
"""Inverted and not, films are fitted up to this many times the smaller misfit: of pictures that are as often dark as
bright only those that are remembered tell it."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Values fitted to all films alike."""

    spec: PreprocessSpec
    misfit: float
    """Of the first layers."""


@dataclass(frozen=True, slots=True)
class JointFit:
    """Values for one geometry."""

    spec: PreprocessSpec
    unexplained: float
    """Mean square of what no weighting of the films explains of the first layers' statistics, in the films' spread: by
    this geometries are compared."""
    share: float
    """The same as a share of how far the statistics are from those of all films alike. Under a wrong geometry they are
    far, and the films that look least wrong explain much of it."""


def joint_fit(
    target: Target,
    geometry: PreprocessSpec,
    images: Tensor,
    pace: Pace | None = None,
    inverts: Inverts = EITHER,
) -> JointFit | None:
    """``geometry`` with the values under which some of the images [N, C, side, side] explain the first layers best.

    None where the first statistics layer cannot be asked. Raises OutOfTime where the pace ends first.
    """
    stems = read_stems(target, prepared(images, geometry), pace)
    if stems is None:
        return None
    starts = _likeliest_first(target, geometry, images, stems, pace, inverts)
    likely = [start for start in starts if start.misfit <= ALIKE * starts[0].misfit]
    fits = [_in_turn(target, geometry, images, stems, start.spec, pace) for start in likely]
    return min(fits, key=lambda fit: fit.unexplained)


def _in_turn(
    target: Target, geometry: PreprocessSpec, images: Tensor, stems: Stems, spec: PreprocessSpec, pace: Pace | None
) -> JointFit:
    """From the values ``spec`` on: which films are remembered, and values for those films, until no more is explained.

    Raises OutOfTime.
    """
    best: JointFit | None = None
    for _ in range(ROUNDS):
        found, layers = _explained(target, images, spec, pace)
        fit, before = JointFit(spec, found.unexplained / layers, found.residual), best
        if before is None or fit.unexplained < before.unexplained:
            best = fit
        if before is not None and fit.unexplained > LESS * before.unexplained:
            break
        stem = stems.averaged(found.weights)
        spec = with_values(geometry, fit_values(stem, invert=spec.invert, noise=0.0).spec)
    assert best is not None
    return best


def values_from(
    target: Target,
    geometry: PreprocessSpec,
    images: Tensor,
    stems: Stems,
    pace: Pace | None = None,
    inverts: Inverts = EITHER,
) -> PreprocessSpec:
    """The values fitted to all films alike. Raises OutOfTime.

    The first layer hardly tells a film from its inversion; the layers behind it decide, among ``inverts``.
    """
    return _likeliest_first(target, geometry, images, stems, pace, inverts)[0].spec


def _likeliest_first(
    target: Target, geometry: PreprocessSpec, images: Tensor, stems: Stems, pace: Pace | None, inverts: Inverts
) -> list[_Start]:
    """The values fitted to all films alike, for each of ``inverts``. Raises OutOfTime."""
    whole = stems.averaged()
    noise = _draw_noise(stems, whole)
    fits = [with_values(geometry, fit_values(whole, invert=invert, noise=noise).spec) for invert in inverts]
    few = images[:SHOWN]
    found = [_Start(spec, first_layers(target, _inputs(target, few, spec), pace=pace).misfit()) for spec in fits]
    return sorted(found, key=lambda start: start.misfit)


def _draw_noise(stems: Stems, whole: Stem) -> float:
    """Misfit of the whole sample's statistics that the draw of its films alone brings about."""
    values = fit_values(whole, invert=False).values
    one, two = (half.deviations(values) for half in stems.halves())
    return float(((one - two) ** 2).mean()) / 4.0


def explained_by(target: Target, images: Tensor, spec: PreprocessSpec, pace: Pace | None = None) -> Explanation:
    """Which of the images [N, C, side, side] in [0, 1] explain the first layers under ``spec``. Raises OutOfTime."""
    return _explained(target, images, spec, pace)[0]


def _explained(target: Target, images: Tensor, spec: PreprocessSpec, pace: Pace | None) -> tuple[Explanation, int]:
    """Which of the images explain the first layers, and how many layers these are."""
    layers = first_layers(target, _inputs(target, images, spec), count=LAYERS, pace=pace).layers
    return explain(statistics_equations(layers, BATCH, rough=True, pace=pace), steps=STEPS, pace=pace), len(layers)


def _inputs(target: Target, images: Tensor, spec: PreprocessSpec) -> Tensor:
    device = next(target.module.parameters()).device
    return to_network(images.to(device), spec, target.match.channels)
