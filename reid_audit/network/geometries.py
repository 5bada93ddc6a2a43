"""Ways from a film to a square picture that training may have used, and which of them lie beside one another.

Where the side is not known, a wrong frame and a wrong side make up for one another: what a filter answers to is the
fineness of what it sees. So other ways to frame a film are tried at the same side and at those sides at which they show
about as much in as many pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from reid_audit.records import Box, PerFilm, PreprocessSpec, Turn

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
OF_PICTURES: tuple[Turn, ...] = ("none", "transpose")
"""Turns of films that are stored as they are shown: MONAI's readers swap rows and columns of them."""
OF_SLICES: tuple[Turn, ...] = get_args(Turn)
"""Turns of films that an affine turned: which way round training code put the slices of a volume no file says."""
CROP_FROM = 8 / 7
"""Resize to 256 and crop 224, of any side: torchvision's habit."""
EDGES: tuple[Box, ...] = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, -1, 0), (0, 0, 0, -1))
BOTH: tuple[Box, ...] = ((1, 1, -1, -1), (0, 1, 0, -1), (1, 0, -1, 0))
"""Moves of left, top, right and bottom towards the middle: one edge, and all, the upper and lower, or the left and
right ones."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
STEP, FINER = 1 / 16, (1 / 32, 1 / 64)
"""Shares of a film's width or height by which its edges are moved in search of the part that was kept, at first and
then. Of a network that learned its films by heart without shifting them, a pixel or two more or less hide members."""
NARROWEST = 0.5
"""Share of width or height that is kept at least."""
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
    return changed(geometry, keep=None, resize="squash", crop="none", resize_to=None)


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


def turns(geometry: PreprocessSpec, among: Sequence[Turn]) -> list[PreprocessSpec]:
    """The same turned otherwise."""
    return [changed(geometry, turn=turn) for turn in among if turn != geometry.turn]


def per_film(geometry: PreprocessSpec, among: Sequence[PerFilm]) -> list[PreprocessSpec]:
    """The same with something else done to every film by itself."""
    return [changed(geometry, per_film=way) for way in among if way != geometry.per_film]


def standardised_otherwise(used: PreprocessSpec) -> list[PreprocessSpec]:
    """Films that are each standardised by itself and nothing more, where those of ``used`` are not."""
    if used.per_film != "none":
        return []
    return [changed(bare(used), per_film="zscore")]


def parts(geometry: PreprocessSpec, step: float = STEP) -> list[PreprocessSpec]:
    """Other parts of the film: of a whole film those about the middle that leave out up to an eighth on either hand, of
    its height, its width and both, in the same frame or, instead of a crop after resizing, squashed into the square; of
    a part those with one edge, two opposite ones or all moved by ``step``, and the whole film."""
    if geometry.keep is None:
        frame = geometry if geometry.resize_to is None else whole(geometry)
        boxes = (_moved(WHOLE, move, times * STEP) for move in BOTH for times in (0.5, 1, 1.5, 2))
        return [changed(frame, keep=box) for box in boxes]
    moved = [_moved(geometry.keep, move, way * step) for move in (*EDGES, *BOTH) for way in (1, -1)]
    kept = dict.fromkeys(None if box == WHOLE else box for box in (*moved, WHOLE) if _wide(box))
    return [changed(geometry, keep=box) for box in kept if box != geometry.keep]


def _moved(box: Box, move: Box, step: float) -> Box:
    left, top, right, bottom = (min(1.0, max(0.0, edge + way * step)) for edge, way in zip(box, move, strict=True))
    return left, top, right, bottom


def _wide(box: Box) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) >= NARROWEST


def _ways(geometry: PreprocessSpec) -> list[PreprocessSpec]:
    """A crop after resizing is another part of the film, so of a part that was kept none is tried."""
    larger = round((geometry.side or 224) * CROP_FROM)
    kept = changed(geometry, resize="squash", crop="none", resize_to=None)
    plain = [kept, *(changed(kept, resize=edge, crop="center") for edge in ("shorter", "longer"))]
    if geometry.keep is not None:
        return plain
    return [*plain, *(changed(kept, resize=edge, crop="center", resize_to=larger) for edge in ("shorter", "squash"))]
