"""Ways from a film to a square picture that training may have used, and which of them lie beside one another.

Where the side is not known, a wrong frame and a wrong side make up for one another: what a filter answers to is the
fineness of what it sees. So other ways to frame a film are tried at the same side and at those sides at which they show
about as much in as many pixels.
"""

from __future__ import annotations

from typing import Any

from reid_audit.records import PreprocessSpec

SIDES = (
    32, 40, 48, 56, 64, 72, 80, 96, 100, 112, 128, 144, 150, 160, 176, 192, 200, 208, 224, 240, 256, 260, 288, 299,
    320, 336, 352, 380, 384, 416, 448, 480, 512,
)  # fmt: skip
"""Sides in pixels that are tried where the file does not tell."""
COARSE = (32, 64, 128, 224, 384)
"""Where the search among them begins."""
USUAL = (32, 64, 96, 128, 224, 256, 299, 320, 384, 448, 512)
"""Sides that are tried with augmentation: it blurs and magnifies, as another side would."""
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box")
CROP_FROM = 8 / 7
"""Resize to 256 and crop 224, of any side: torchvision's habit."""
AROUND = 1.34
"""Factor within which another side can make up for another framing: that of a crop, and of films a fifth longer than
wide."""


def changed(spec: PreprocessSpec, **changes: Any) -> PreprocessSpec:
    """``spec`` with other parts."""
    return spec.model_copy(update=changes)


def bare(spec: PreprocessSpec) -> PreprocessSpec:
    """``spec`` without values: the geometry alone."""
    return changed(spec, mean=(0.0,), std=(1.0,), invert=False)


def at_side(geometry: PreprocessSpec, side: int) -> PreprocessSpec:
    """The same framing at another side in pixels: a size before the crop keeps its proportion to it."""
    before = geometry.resize_to
    if before is not None and geometry.side:
        before = round(before * side / geometry.side)
    return changed(geometry, side=side, resize_to=before)


def whole(geometry: PreprocessSpec) -> PreprocessSpec:
    """The whole film in the same square, whatever its proportions."""
    return changed(geometry, resize="squash", crop="none", resize_to=None)


def neighbours(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    """The two next sides of ``SIDES`` in either direction, and the nearest where the side is none of them."""
    place = min(range(len(SIDES)), key=lambda i: abs(SIDES[i] - (geometry.side or 0)))
    around = SIDES[max(0, place - 2) : place + 3]
    return [at_side(geometry, side) for side in around if side != geometry.side]


def framings(geometry: PreprocessSpec, *, free: bool = False) -> list[PreprocessSpec]:
    """The other ways to make films square; where the side is ``free``, at the sides of ``SIDES`` around it as well."""
    here = geometry.side or 224
    low, high = here / AROUND, here * AROUND
    sides = {here, *(side for side in SIDES if low <= side <= high)} if free else {here}
    ways = [way for side in sorted(sides) for way in _ways(changed(geometry, side=side))]
    return [way for way in ways if way != geometry]


def interpolations(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    """The same with other interpolations."""
    names = (name for name in INTERPOLATIONS if name != geometry.interpolation)
    return [changed(geometry, interpolation=name) for name in names]


def _ways(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    larger = round((geometry.side or 224) * CROP_FROM)
    return [
        whole(geometry),
        changed(geometry, resize="shorter", crop="center", resize_to=None),
        changed(geometry, resize="shorter", crop="center", resize_to=larger),
        changed(geometry, resize="squash", crop="center", resize_to=larger),
    ]
