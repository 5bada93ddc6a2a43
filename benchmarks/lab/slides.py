"""What the study's slides state (S. Lee 2025), number by number, and what its own rows say when they are tested.

Nothing here was measured by this project. Two slides show one table of distributions, once under "CNN models" and once
under "ViT models"; the tuned entropies of the overfit CNN and of the ViT are the same there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab.pages import Row

KINDS = ("CNN", "overfit CNN", "ViT", "overfit ViT")
"""The study's four targets."""
DRAWS = 9999


class Shift(NamedTuple):
    """A figure of the un-tuned generator, of the tuned one and of the training films."""

    original: float
    tuned: float
    target: float


ENTROPY = {
    "CNN": Shift(7.402, 6.486, 7.963),
    "overfit CNN": Shift(7.402, 6.176, 7.965),
    "ViT": Shift(7.402, 6.176, 7.963),
    "overfit ViT": Shift(7.402, 6.125, 7.962),
}
KURTOSIS = {
    "CNN": Shift(1.065, 0.436, 4.306),
    "overfit CNN": Shift(1.065, 0.566, 0.532),
    "ViT": Shift(1.065, 1.001, 4.299),
    "overfit ViT": Shift(1.065, 0.580, 0.396),
}
FID = {
    "CNN": (159.9088, 178.9562),
    "overfit CNN": (95.5836, 198.1082),
    "ViT": (74.7530, 104.9406),
    "overfit ViT": (90.0923, 171.7221),
}
"""From the original to the tuned generator, and from the tuned one to the training films."""

_OVERFIT_CNN = """
    0.415 0.826  0.379 0.799  0.443 0.795  0.475 0.765  0.484 0.826  0.379 0.818  0.421 0.760  0.438 0.779
    0.490 0.788  0.433 0.813  0.405 0.806  0.464 0.817  0.463 0.783  0.353 0.811  0.416 0.819  0.430 0.801
    0.390 0.804  0.459 0.789  0.399 0.809  0.469 0.783  0.531 0.769  0.363 0.824  0.480 0.810
"""


def _pairs(text: str) -> tuple[tuple[float, float], ...]:
    values = [float(word) for word in text.split()]
    return tuple(zip(values[::2], values[1::2], strict=True))


LIKELY = {
    "CNN": _pairs("0.125 0.964  0.093 0.914"),
    "overfit CNN": _pairs(_OVERFIT_CNN),
    "ViT": _pairs("0.501 0.978"),
    "overfit ViT": _pairs("0.532 0.860  0.473 0.903"),
}
"""(SSIM, NN) of each likely sample with its nearest match: 2, 23, 1 and 2 of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Age and sex as read from a likely sample and from its nearest match, and as they are."""

    age_made: float
    age_nearest: float
    age_true: float
    sex_made: str
    sex_nearest: str
    sex_true: str

    @classmethod
    def of(cls, line: str) -> Reading:
        made, nearest, true, sexes = line.split()
        return cls(float(made), float(nearest), float(true), *sexes)


def _readings(text: str) -> tuple[Reading, ...]:
    return tuple(Reading.of(line) for line in text.strip().splitlines())


READINGS = {
    "CNN": _readings("53.775 27.856 21 FMM\n56.651 64.735 39 FMM"),
    "overfit CNN": _readings(
        """51.083 36.347 38 MMM
        40.074 36.347 38 MMM
        57.408 36.347 38 MMM
        51.036 36.347 38 MMM
        66.833 38.156 36 FFF
        56.344 38.156 36 MFF
        42.078 54.446 60 MMM
        51.957 48.092 49 MFF
        61.132 43.360 31 MFF
        61.883 36.347 38 MMM
        56.758 38.156 36 MFF
        56.860 36.347 38 MMM
        47.131 37.415 48 FMM
        61.876 38.156 36 FFF
        54.889 36.348 38 FMM
        49.812 44.660 32 FMM
        49.670 22.176 28 MFF
        63.451 55.218 44 MMM
        38.040 38.156 36 FFF
        42.856 55.218 44 MMM
        65.286 55.218 44 MMM
        45.753 36.347 38 MMM
        67.026 36.347 38 MMM"""
    ),
    "ViT": _readings("45.282 73.385 69 MMM"),
    "overfit ViT": _readings("43.817 30.173 33 FFF\n57.571 60.202 54 MMM"),
}
"""The rows of its four tables of demographic predictions."""


@dataclass(frozen=True, slots=True)
class Reread:
    """What rows of readings say: errors beside the guess that needs no image, and a test of both."""

    rows: int
    people: int
    """Different nearest matches, told apart by their readings and truths."""
    age_made: float
    """Mean absolute error in years."""
    age_nearest: float
    age_guess: float
    """Of guessing everybody the median of the true ages."""
    age_p: float
    """Chance of an error as small if readings were dealt out to the rows at random."""
    sex_made: int
    """Rows right."""
    sex_guess: int
    """Of guessing everybody the more frequent sex."""
    sex_p: float


def reread(rows: tuple[Reading, ...], rng: np.random.Generator) -> Reread:
    """The study's ``rows``, tested by dealing the readings out anew: does a reading belong to its own nearest match?"""
    made, nearest, true = (np.array([getattr(row, f"age_{n}") for row in rows]) for n in ("made", "nearest", "true"))
    sex_made, sex_true = (np.array([getattr(row, f"sex_{n}") for row in rows]) for n in ("made", "true"))
    counts = np.unique(sex_true, return_counts=True)[1]
    dealt = rng.permuted(np.tile(np.arange(len(rows)), (DRAWS, 1)), axis=1)
    errors = np.abs(made[dealt] - true).mean(axis=1)
    right = (sex_made[dealt] == sex_true).sum(axis=1)
    error, correct = float(np.abs(made - true).mean()), int((sex_made == sex_true).sum())
    return Reread(
        rows=len(rows),
        people=len({(round(row.age_nearest, 2), row.age_true, row.sex_true) for row in rows}),
        age_made=error,
        age_nearest=float(np.abs(nearest - true).mean()),
        age_guess=float(np.abs(np.median(true) - true).mean()),
        age_p=_share(errors <= error + 1e-9),
        sex_made=correct,
        sex_guess=int(counts.max()),
        sex_p=_share(right >= correct),
    )


def _share(hits: NDArray[np.bool_]) -> float:
    return float((1 + np.count_nonzero(hits)) / (1 + hits.size))


REREAD_HEAD = (
    "the study's target",
    "rows",
    "different nearest matches",
    "age error, reconstruction",
    "age error, nearest match",
    "age error, guessing the median",
    "p (age)",
    "sex right, reconstruction",
    "sex right, guessing the more frequent",
    "p (sex)",
)


def reread_rows() -> list[Row]:
    """The study's rows by target; fewer than five rows have no guess and no p."""
    table: list[Row] = []
    for kind in KINDS:
        found = reread(READINGS[kind], np.random.default_rng(0))
        few = found.rows < 5
        table.append(
            (
                kind,
                str(found.rows),
                str(found.people),
                f"{found.age_made:.1f}",
                f"{found.age_nearest:.1f}",
                "" if few else f"{found.age_guess:.1f}",
                "" if few else f"{found.age_p:.2f}",
                f"{found.sex_made} of {found.rows}",
                "" if few else f"{found.sex_guess} of {found.rows}",
                "" if few else f"{found.sex_p:.2f}",
            )
        )
    return table


def alike(kind: str) -> tuple[float, float]:
    """(mean SSIM, mean NN) of a target's likely samples."""
    mean = np.mean(LIKELY[kind], axis=0)
    return float(mean[0]), float(mean[1])
