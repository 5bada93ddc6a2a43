"""How films became network input: what a policy declares, and what a network says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, FiniteFloat, PositiveFloat, PositiveInt, model_validator

from reid_audit.records.base import Record


class Scaling(Record):
    """How stored grey values become numbers in [0, 1]: one of the words, or ``{ range = [low, high] }``."""

    by: Literal["bits", "range", "window", "minmax", "percentiles"]
    """``bits``: what the film's stored bits can hold becomes 0 to 1 (value / 255 for 8 bits). ``range``: low becomes 0,
    high 1. ``window``: the file's own window (VOI LUT). ``minmax``, ``percentiles``: of each film for itself."""
    limits: tuple[FiniteFloat, FiniteFloat] | None = None
    """The two ends of ``range`` (in the file's values after rescale slope and intercept) or ``percentiles``."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: object) -> object:
        """``"bits"`` and ``{ range = [0, 4095] }`` as they are written in a policy."""
        if isinstance(given, str):
            return {"by": given}
        if isinstance(given, dict) and len(given) == 1 and set(given) <= {"range", "percentiles"}:
            ((by, limits),) = given.items()
            return {"by": by, "limits": limits}
        return given

    @model_validator(mode="after")
    def _limits_fit(self) -> Scaling:
        if (self.limits is not None) != (self.by in ("range", "percentiles")):
            raise ValueError("write { range = [low, high] } or { percentiles = [low, high] }, or a word without limits")
        if self.limits is not None and self.limits[0] >= self.limits[1]:
            raise ValueError("the first limit must be below the second")
        if self.by == "percentiles" and not (min(self.limits or (0,)) >= 0 and max(self.limits or (100,)) <= 100):
            raise ValueError("percentiles lie between 0 and 100")
        return self

    def toml(self) -> str:
        """The value of ``scaling`` as it is written in a policy."""
        if self.limits is None:
            return f'"{self.by}"'
        return f"{{ {self.by} = [{self.limits[0]:g}, {self.limits[1]:g}] }}"


def _ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("write [left, top, right, bottom] as shares from 0 to 1, such as [0, 0.1, 1, 0.9]")
    return box


Box = Annotated[tuple[float, float, float, float], AfterValidator(_ordered)]
"""Left, top, right and bottom as shares of a picture's width and height."""


Turn = Literal[
    "none",
    "rotate_90",
    "rotate_180",
    "rotate_270",
    "flip_left_right",
    "flip_top_bottom",
    "transpose",
    "transverse",
]
"""Of a picture, in Pillow's words: rotations are counter-clockwise, ``transpose`` swaps rows and columns."""


PerFilm = Literal["none", "zscore"]
"""What is done to every film by itself: nothing, or its own mean becomes 0 and its own deviation 1 (nnU-Net's
ZScoreNormalization, MONAI's NormalizeIntensity)."""


class PreprocessSpec(Record):
    """How films became network input in training. Images are in [0, 1] before ``per_film``, ``mean`` and ``std``."""

    side: PositiveInt | None = None
    """Pixels of the square network input; None: inferred."""
    keep: Box | None = None
    """Left, top, right and bottom of the part of the film that is kept before it is resized, as shares of its width and
    height: (0, 0.1, 1, 1) cuts off the upper tenth. None: the whole film."""
    resize: Literal["squash", "shorter", "longer", "none"] = "squash"
    """Both edges to the side, or the shorter, or the longer edge."""
    crop: Literal["center", "none"] = "none"
    """``center``: the middle, filled up with black where the picture is smaller."""
    resize_to: PositiveInt | None = None
    """Pixels that ``resize`` resizes to before the crop, such as 256 before a crop of 224; None: ``side``."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    turn: Turn = "none"
    """How the network saw films that are upright here; everything before it is said of upright films."""
    per_film: PerFilm = "none"
    """Applied to the resized film, before ``invert``, ``mean`` and ``std``."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted after scaling to [0, 1]; one value, or one per channel."""
    std: tuple[PositiveFloat, ...] = (1.0,)
    invert: bool = False
    """True where the network saw 1 - x (MONOCHROME1)."""
    scaling: Scaling | None = None
    """How stored grey values become [0, 1]; None: not declared, and films are rendered by their stored bits."""

    def toml(self) -> str:
        """The ``[preprocess]`` table that declares exactly this."""
        lines = ["[preprocess]", *([] if self.side is None else [f"side = {self.side}"])]
        lines += [] if self.keep is None else [f"keep = [{', '.join(f'{edge:.6g}' for edge in self.keep)}]"]
        lines += [f'resize = "{self.resize}"', f'crop = "{self.crop}"']
        lines += [] if self.resize_to is None else [f"resize_to = {self.resize_to}"]
        lines += [f'interpolation = "{self.interpolation}"']
        lines += [] if self.turn == "none" else [f'turn = "{self.turn}"']
        lines += [] if self.per_film == "none" else [f'per_film = "{self.per_film}"']
        lines += [f"{name} = [{', '.join(f'{v:.6g}' for v in getattr(self, name))}]" for name in ("mean", "std")]
        lines += [f"invert = {'true' if self.invert else 'false'}"]
        lines += [] if self.scaling is None else [f"scaling = {self.scaling.toml()}"]
        return "\n".join(lines)


class PreprocessCandidate(Record):
    """A way from films to network input that was tried."""

    spec: PreprocessSpec
    misfit: FiniteFloat
    """By statistics: mean square deviation of the first statistics layer, in standard deviations. By answers: mean
    error under the training labels."""
    augmentation: str = "none"
    """What the films were thought to have gone through in training."""


class PreprocessFit(Record):
    """What a network says of the preprocessing it was trained with, asked with films of both cohorts pooled."""

    best: PreprocessSpec
    by: Literal["statistics", "answers"]
    augmentation: str = "none"
    films: int
    """Films it was fitted on."""
    complete: bool = True
    """Whether there was time to try everything."""
    candidates: tuple[PreprocessCandidate, ...] = ()
    """The best of those tried, best first."""


class PreprocessPolicy(Record):
    """The ``[preprocess]`` table. What it leaves open is inferred from the network."""

    declared: PreprocessSpec | None = None
    values: Literal["declared", "inferred"] = "declared"
    """``inferred``: side, resize and crop are declared, but mean, std and invert are read from the first layers."""
