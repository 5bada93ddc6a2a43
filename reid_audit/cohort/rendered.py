"""Films as the network sees them, in the fewest bytes that give the same numbers back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_audit.cohort.account import Passed
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.raw import RawFilm, Values
from reid_audit.cohort.render import render
from reid_audit.cohort.source import Row
from reid_audit.errors import CohortError

CONSTANT = 0.5 / 255
"""A film whose values span less than half an 8-bit step shows nothing."""
WHOLE: tuple[tuple[type[np.unsignedinteger[Any]], int], ...] = ((np.uint8, 255), (np.uint16, 65535))
"""Whole numbers that grey values may be stored as, and what 1 is."""
Packed = NDArray[Any]
"""[C, side, side] uint8 or uint16, which are k / 255 and k / 65535 in float32, or float32 as it is."""


class Unfit(CohortError):
    """A film that can be read but not be framed."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One film in its frame."""

    packed: Packed
    digest: bytes
    """SHA-256 of its values as little-endian float32."""
    blank: bool
    """Whether it is a single grey value."""
    passed: Passed

    @classmethod
    def of(cls, row: Row, film: RawFilm, frame: Frame) -> Rendered:
        """``film`` of ``row`` in ``frame``. Raises Unfit, which names its file."""
        try:
            values = render(film, frame.spec, frame.side, frame.channels).numpy()
        except CohortError as error:
            raise Unfit(f"{row.path}: {error.what}", closest=error.closest, remedy=error.remedy) from error
        return cls(
            packed=pack(values),
            digest=film_digest(values),
            blank=bool(values.max() - values.min() < CONSTANT),
            passed=Passed.of(film, frame.spec.scaling),
        )


def pack(values: Values) -> Packed:
    """``values`` as uint8 or uint16 where ``unpack`` gives every bit of them back; as they are otherwise."""
    for kind, most in WHOLE:
        whole: Packed = np.rint(values * np.float32(most)).astype(kind)
        if unpack(whole).tobytes() == values.tobytes():
            return whole
    return values


def unpack(packed: Packed) -> Values:
    """The grey values in [0, 1] that were packed."""
    for kind, most in WHOLE:
        if packed.dtype == kind:
            return np.asarray(packed.astype(np.float32) / np.float32(most))
    return np.asarray(packed, dtype=np.float32)


def film_digest(values: Values) -> bytes:
    """SHA-256 of a film's values, on every machine the same."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).digest()
