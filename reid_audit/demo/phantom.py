"""A procedural chest radiograph: anatomy -> films, several per patient, with pose, breath, exposure and noise.

The same seed gives the same pixels on every machine: only operations that IEEE 754 rounds in one way, in float32 and
in a fixed order (see ``exact``); no sums, products of matrices or functions of numpy whose last bit is the processor's.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray

from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.demo.anatomy import TEXTURE, Anatomy, draw_anatomy, normal
from reid_audit.demo.exact import Values, bell, cos, cos_turns, exp, power, sin
from reid_audit.records import Role

_OVERSAMPLING = 2
_CHUNK = 8


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """What differs between the films of one patient: one value per film."""

    shift_x: Values
    shift_y: Values
    rotation: Values
    """Radians."""
    scale: Values
    breath: Values
    """How much lower the diaphragm stands."""
    gain: Values
    gamma: Values
    noise: Values
    """[N, side, side] standard normal."""


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Body coordinates of every pixel, [N, S, S] each."""

    x: Values
    y: Values


def phantom_cohort(patients: int, *, side: int = 32, seed: int, role: Role, films: tuple[int, int] = (1, 4)) -> Cohort:
    """Draw a cohort of ``patients`` people with ``films[0]`` to ``films[1]`` films each.

    images: [N, 1, side, side] in [0, 1], 8-bit values. Patient ids carry the seed, so two seeds share
    no one.
    """
    images, index, people = draw_films(patients, side=side, seed=seed, films=films)
    return assemble(
        torch.from_numpy(images).float().div_(255).unsqueeze(1),
        Subjects(
            np.array([f"phantom{seed}-{i:05d}" for i in index], dtype=np.str_),
            np.floor(people.age[index]).astype(np.float64),
            np.where(people.female[index] > 0, "F", "M").astype(np.str_),
        ),
        role=role,
    )


def draw_films(
    patients: int, *, side: int, seed: int, films: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], Anatomy]:
    """Films [N, side, side] uint8, the number of each film's patient [N], and the patients' anatomy."""
    rng = np.random.default_rng(seed)
    people = draw_anatomy(patients, rng)
    counts = rng.integers(films[0], films[1] + 1, patients)
    index = np.repeat(np.arange(patients), counts)
    images = np.empty((len(index), side, side), dtype=np.uint8)
    for start in range(0, len(index), _CHUNK):
        part = index[start : start + _CHUNK]
        images[start : start + _CHUNK] = render(people.take(part), draw_exposures(len(part), side, rng), side)
    return images, index, people


def draw_exposures(films: int, side: int, rng: np.random.Generator) -> Exposures:
    """Pose, breath, dose and noise of ``films`` films."""

    def vary(mean: float, spread: float) -> Values:
        return (mean + spread * np.clip(rng.standard_normal(films), -2.5, 2.5)).astype(np.float32)

    return Exposures(
        shift_x=vary(0, 0.025),
        shift_y=vary(0, 0.03),
        rotation=vary(0, 0.025),
        scale=vary(1, 0.025),
        breath=vary(0, 0.035),
        gain=vary(1, 0.05),
        gamma=exp(vary(0, 0.10)),
        noise=normal(rng, films, side, side),
    )


def render(body: Anatomy, film: Exposures, side: int) -> NDArray[np.uint8]:
    """Radiographs [N, side, side] of the given bodies under the given exposures (white: dense)."""
    grid = _body_grid(film, side * _OVERSAMPLING)
    air, dome = _lungs(grid, body, film)
    shape = _torso(grid, body)
    texture = _texture(grid, body)
    density = 0.62 + 1.2 * _column(body.habitus) + 0.06 * texture[:, 1]
    density = density - air * (0.36 - 0.3 * _column(body.habitus))
    density += air * (_column(body.markings) * texture[:, 0] + _hila(grid, body))
    density += 0.35 * (1 - air) * _soft(grid.y - dome, 0.05) - _stomach(grid, body, dome)
    density += _mediastinum(grid, body) + _heart(grid, body, dome)
    density += _ribs(grid, body, air) + _shoulders(grid, body) + _breasts(grid, body)
    density *= shape
    density += _devices(grid, body)
    # Film saturates: behind heart and spine more tissue adds little.
    exposed = 1 - exp(-1.7 * _column(film.gain) * np.maximum(_pooled(density), 0))
    grey = power(exposed, _column(film.gamma))
    # Quantum noise: fewer photons where the body is dense.
    grey += film.noise * (0.006 + 0.012 * grey)
    pixels: NDArray[np.uint8] = np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return pixels


def _column(values: Values) -> Values:
    return values[:, None, None]


def _soft(distance: Values, width: float) -> Values:
    """A step about as wide as a logistic one of scale ``width``: 0 below zero, 1 above (cubic, for speed)."""
    rise = distance / np.float32(6 * width)
    rise += np.float32(0.5)
    np.clip(rise, 0, 1, out=rise)
    return rise * rise * (3 - 2 * rise)


def _added(terms: Iterable[Values]) -> Values:
    """The sum, one term after the other."""
    return reduce(operator.add, terms)


def _length(x: Values, y: Values) -> Values:
    length: Values = np.sqrt(x * x + y * y)
    return length


def _pooled(density: Values) -> Values:
    """[N, side, side] the mean of every square of _OVERSAMPLING x _OVERSAMPLING pixels."""
    rows = _added(density[:, k::_OVERSAMPLING] for k in range(_OVERSAMPLING))
    return _added(rows[:, :, k::_OVERSAMPLING] for k in range(_OVERSAMPLING)) / (_OVERSAMPLING * _OVERSAMPLING)


def _body_grid(film: Exposures, pixels: int) -> _Grid:
    axis = ((np.arange(pixels, dtype=np.float32) + 0.5) / pixels * 2 - 1).astype(np.float32)
    x = axis[None, None, :] - _column(film.shift_x)
    y = axis[None, :, None] - _column(film.shift_y)
    along, across, scale = (_column(f) for f in (cos(film.rotation), sin(film.rotation), film.scale))
    return _Grid(x=(along * x + across * y) / scale, y=(along * y - across * x) / scale)


def _torso(grid: _Grid, body: Anatomy) -> Values:
    """1 inside the body: neck, sloping shoulders, trunk with the upper arms cut off by the film's edge."""
    beyond = np.maximum(np.abs(grid.x) - 0.25, 0)
    shoulder = _soft(grid.y + 0.86 - 0.45 * beyond * np.sqrt(beyond), 0.04)
    neck = _soft(0.24 - np.abs(grid.x), 0.03)
    waist = _column(body.thorax) + 0.10 + 0.5 * _column(body.habitus) + 0.25 * np.maximum(-0.25 - grid.y, 0)
    inside: Values = np.maximum(shoulder * _soft(waist - np.abs(grid.x), 0.02), neck * _soft(0.2 - grid.y, 0.1))
    return inside


def _lungs(grid: _Grid, body: Anatomy, film: Exposures) -> tuple[Values, Values]:
    """Air [0, 1], and the y of the diaphragm at every pixel."""
    left = (grid.x > 0).astype(np.float32)
    lung = _column(body.lung)
    centre = _column(body.thorax) - 0.06 - lung
    offset = (np.abs(grid.x) - centre) / lung
    top = _column(body.dome + film.breath) + left * _column(body.dome_drop)
    dome = top + _column(body.dome_height) * power(np.abs(offset + 0.15), 2.2)
    # The lateral wall narrows towards the tip; the medial side gives way to the mediastinum.
    apex = _column(body.apex)
    depth = np.clip((grid.y - apex) / 0.9, 0, 1)
    wall = centre + lung * np.sqrt(np.clip(depth * (2 - depth), 0, 1)) * (0.94 + 0.06 * depth)
    inner = _column(body.mediastinum) * (0.75 + 0.25 * depth)
    air = _soft(wall - np.abs(grid.x), 0.018) * _soft(np.abs(grid.x) - inner, 0.02)
    air *= _soft(dome - grid.y, 0.018) * _soft(grid.y - apex - 0.10 * offset * offset, 0.025)
    return air, dome


def _texture(grid: _Grid, body: Anatomy) -> Values:
    """[N, 2, S, S] smooth random fields that move with the body."""
    knots = (np.arange(TEXTURE) * (2.2 / (TEXTURE - 1)) - 1.1).astype(np.float32)
    width = 0.8 * 2.2 / (TEXTURE - 1)
    across = bell(grid.x[:, grid.x.shape[1] // 2, :, None] - knots, width)
    down = bell(grid.y[:, :, grid.y.shape[2] // 2, None] - knots, width)
    # Not a product of matrices, which adds in an order of the library's choice.
    rows = _added(body.texture[..., k, None] * across[:, None, None, :, k] for k in range(TEXTURE))
    return _added(down[:, None, :, k, None] * rows[:, :, k, None, :] for k in range(TEXTURE))


def _hila(grid: _Grid, body: Anatomy) -> Values:
    inner = np.abs(grid.x) - _column(body.mediastinum)
    vessels: Values = 0.5 * exp(-np.maximum(inner, 0) / 0.22) * bell(grid.y - 0.05, 0.45)
    root: Values = vessels + bell(inner - 0.05, 0.09) * bell(grid.y + 0.08, 0.14)
    return _column(body.hilum) * root


def _stomach(grid: _Grid, body: Anatomy, dome: Values) -> Values:
    return 0.28 * _column(body.bubble) * bell(grid.x - 0.42, 0.17) * bell(grid.y - dome - 0.13, 0.075)


def _mediastinum(grid: _Grid, body: Anatomy) -> Values:
    middle = grid.x - _column(body.spine_bend) * sin(2.5 * grid.y)
    column = _soft(_column(body.mediastinum) * 0.95 - np.abs(middle), 0.025)
    discs = cos_turns(grid.y / _column(body.vertebra) + _column(body.vertebra_phase))
    spine = bell(middle, 0.085) * (0.10 + 0.05 * discs)
    trachea = 0.16 * bell(middle + 0.01, 0.045) * _soft(-0.22 - grid.y, 0.05)
    radius = _length(grid.x - _column(body.mediastinum) - 0.01, grid.y + 0.36)
    knob = _column(body.knob_contrast) * _soft(_column(body.knob) - radius, 0.02)
    shade: Values = 0.22 * column * _soft(grid.y + 0.85, 0.06) + spine - trachea + knob
    return shade


def _heart(grid: _Grid, body: Anatomy, dome: Values) -> Values:
    """An ellipse leaning to the patient's left, as wide as the cardiothoracic ratio asks."""
    width = _column(body.heart * body.thorax)
    x, y = grid.x - 0.34 * width, grid.y - _column(body.dome) + 0.17
    right, up = cos(_column(body.heart_tilt)), sin(_column(body.heart_tilt))
    along, across = right * x + up * y, right * y - up * x
    radius = _length(along / (1.08 * width), across / (0.72 * width))
    return 0.40 * _soft(1 - radius, 0.045) * _soft(dome + 0.06 - grid.y, 0.04)


def _ribs(grid: _Grid, body: Anatomy, air: Values) -> Values:
    """Posterior ribs fall outwards, the fainter anterior ones fall inwards."""
    out = np.abs(grid.x)
    phase = np.where(grid.x > 0, _column(body.rib_phase_left), _column(body.rib_phase_right))
    spacing = _column(body.rib_spacing)
    back = grid.y - _column(body.rib_slope) * np.square(out - 0.3) * 3 + 0.05 * out
    front = grid.y + (0.5 + _column(body.rib_slope)) * (out - 0.45) + 0.3
    bone = _stripes(back / spacing + phase) + 0.45 * _stripes(front / (1.25 * spacing) + 0.37 - phase)
    cage = 0.35 + 0.65 * air
    return (
        _column(body.rib_contrast) * bone * cage * _soft(_column(body.thorax) - out, 0.03) * _soft(0.75 - grid.y, 0.1)
    )


def _stripes(turns: Values) -> Values:
    """Narrow bands once per turn, zero on average over a turn."""
    return exp(2.2 * (cos_turns(turns) - 1)) - 0.29


def _shoulders(grid: _Grid, body: Anatomy) -> Values:
    """Clavicles and the medial edges of the scapulae."""
    out = np.abs(grid.x)
    tilt = _column(body.clavicle_tilt) + np.sign(grid.x) * _column(body.clavicle_skew)
    bend = grid.y - _column(body.clavicle) + tilt * (out - 0.1) - 0.10 * sin(4.5 * (out - 0.1))
    clavicle = bell(bend, 0.04) * _soft(out - 0.10, 0.02) * _soft(0.78 - out, 0.03)
    edge = out - _column(body.scapula) + 0.15 * (grid.y + 0.3)
    scapula = _soft(edge, 0.02) * _soft(-0.02 - grid.y, 0.08) * _soft(grid.y + 0.72, 0.05)
    return 0.17 * clavicle + 0.09 * scapula


def _breasts(grid: _Grid, body: Anatomy) -> Values:
    x = (np.abs(grid.x) - 0.48) / 0.36
    y = (grid.y - _column(body.breast_y)) / 0.30
    # A pendulous lower border, a soft upper one.
    shade = _soft(1 - _length(x, np.where(y > 0, y * 1.3, y)), 0.09)
    return 0.13 * _column(body.breast) * shade


def _devices(grid: _Grid, body: Anatomy) -> Values:
    case = _soft(0.12 - np.abs(grid.x - 0.5), 0.01) * _soft(0.09 - np.abs(grid.y + 0.42), 0.01)
    lead = bell(grid.x - 0.30 + 0.18 * (grid.y - 0.3), 0.022) * _soft(grid.y + 0.42, 0.02) * _soft(0.4 - grid.y, 0.02)
    wire = bell(grid.x - _column(body.wire_x) - _column(body.wire_slope) * grid.y, 0.022)
    letter = _soft(0.05 - np.abs(grid.x - 0.86 * _column(body.marker)), 0.01)
    letter *= _soft(0.07 - np.abs(grid.y + 0.84), 0.01) * np.abs(_column(body.marker))
    metal: Values = 0.45 * _column(body.pacemaker) * (case + 0.6 * lead) + 0.16 * wire + 0.8 * letter
    return metal
