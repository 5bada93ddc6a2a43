"""Who the phantom patients are: one set of anatomical numbers each, driven by age, sex and chance."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from reid_audit.demo.exact import Values

TEXTURE = 9
"""Side of the grid of random values behind a patient's lung markings and soft tissue."""


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One value per patient (or per film, after ``take``). Lengths are in half image widths, y points down."""

    age: Values
    """Years, 18 to 95."""
    female: Values
    """1 or 0."""
    thorax: Values
    """Half width of the rib cage."""
    apex: Values
    """y of the lung tips."""
    lung: Values
    """Half width of one lung."""
    dome: Values
    """y of the right diaphragm."""
    dome_drop: Values
    """How much lower the left diaphragm stands."""
    dome_height: Values
    heart: Values
    """Cardiothoracic ratio."""
    heart_tilt: Values
    """Radians."""
    mediastinum: Values
    """Half width."""
    spine_bend: Values
    vertebra: Values
    """Distance of two vertebrae."""
    vertebra_phase: Values
    knob: Values
    """Radius of the aortic knob."""
    knob_contrast: Values
    rib_spacing: Values
    rib_slope: Values
    rib_phase_right: Values
    rib_phase_left: Values
    rib_contrast: Values
    clavicle: Values
    """y of the medial ends."""
    clavicle_tilt: Values
    clavicle_skew: Values
    """Difference of tilt between the sides."""
    scapula: Values
    """x of the medial scapular edge."""
    breast: Values
    """Strength of the breast shadow, 0 to 2."""
    breast_y: Values
    habitus: Values
    """Soft tissue over the lungs."""
    hilum: Values
    markings: Values
    """Strength of the lung markings."""
    texture: Values
    """[N, 2, TEXTURE, TEXTURE] lung markings and soft tissue."""
    bubble: Values
    """Gas in the stomach, 0 to 1."""
    pacemaker: Values
    """1 or 0."""
    wire_x: Values
    """x of a monitoring lead, beyond 2 where there is none."""
    wire_slope: Values
    marker: Values
    """-1, 0 or 1: a lead letter on the left, none, on the right."""

    def take(self, index: NDArray[np.int64]) -> Anatomy:
        """The anatomy of each film, given the number of its patient."""
        return Anatomy(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def normal(rng: np.random.Generator, *shape: int) -> Values:
    """Standard normal numbers in steps of 2^-20, so that the last bit of the C library's logarithm is not in them."""
    steps = float(1 << 20)
    return (np.rint(rng.standard_normal(shape) * steps) / steps).astype(np.float32)


def draw_anatomy(patients: int, rng: np.random.Generator) -> Anatomy:
    """Draw ``patients`` people: half of them women, ages about 55 with standard deviation 18."""

    def vary(mean: float, spread: float) -> Values:
        # Bounded, so that nobody's organs leave the body, nor a tail that the C library's logarithm makes.
        return (mean + spread * np.clip(rng.standard_normal(patients), -2.5, 2.5)).astype(np.float32)

    def among(low: float, high: float) -> Values:
        return (low + (high - low) * rng.random(patients)).astype(np.float32)

    def some(share: float) -> Values:
        return (rng.random(patients) < share).astype(np.float32)

    age = np.clip(vary(55, 18), 18, 95).astype(np.float32)
    old = (age - 55) / 18
    female = some(0.5)
    spacing = vary(0.19, 0.016)
    return Anatomy(
        age=age,
        female=female,
        thorax=vary(0.86, 0.045) - 0.04 * female,
        apex=vary(-0.74, 0.05) + 0.02 * old,
        lung=vary(0.37, 0.03) - 0.015 * female,
        dome=vary(0.55, 0.09) - 0.06 * female - 0.02 * old,
        dome_drop=vary(0.06, 0.035),
        dome_height=vary(0.17, 0.045),
        heart=np.clip(vary(0.47, 0.04) + 0.028 * old + 0.012 * female, 0.36, 0.66),
        heart_tilt=vary(0.65, 0.16),
        mediastinum=vary(0.14, 0.02) + 0.012 * old,
        spine_bend=vary(0.0, 0.03),
        vertebra=vary(0.145, 0.012),
        vertebra_phase=among(0, 1),
        knob=vary(0.085, 0.013) + 0.012 * old,
        knob_contrast=np.clip(vary(0.10, 0.03) + 0.06 * old, 0, 0.3),
        rib_spacing=spacing,
        rib_slope=vary(0.30, 0.09),
        rib_phase_right=among(0, 1),
        rib_phase_left=among(0, 1),
        rib_contrast=np.clip(vary(0.13, 0.025) - 0.03 * old, 0.03, 0.3),
        clavicle=vary(-0.66, 0.055),
        clavicle_tilt=vary(0.18, 0.09),
        clavicle_skew=vary(0.0, 0.05),
        scapula=vary(0.72, 0.05),
        breast=np.clip(female * vary(1.0, 0.35) + (1 - female) * np.abs(vary(0.0, 0.15)), 0, 2),
        breast_y=vary(0.26, 0.07) + 0.03 * old,
        habitus=vary(0.0, 0.05),
        hilum=np.clip(vary(0.15, 0.04), 0.04, 0.3),
        markings=np.clip(vary(0.055, 0.015) + 0.012 * old, 0.015, 0.12),
        texture=normal(rng, patients, 2, TEXTURE, TEXTURE),
        bubble=some(0.5) * among(0.3, 1.0),
        pacemaker=some(0.05) * (old > -0.5),
        wire_x=np.where(some(0.2) > 0, among(-0.7, 0.7), 9.0).astype(np.float32),
        wire_slope=vary(0.0, 0.5),
        marker=np.sign(among(-1, 1)) * some(0.6),
    )
