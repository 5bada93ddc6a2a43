"""Are the stored values finite? Read in blocks from the mapped file, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from reid_audit.checkpoint.layout import WIDTH, Buffer, Entry, contiguous
from reid_audit.errors import CheckpointError

BLOCK = 2**20
NATIVE = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
EXPONENT = {"bfloat16": ("<u2", 0x7F80), "float8_e5m2": ("u1", 0x7C)}
"""Not finite where all these bits are set."""
ONE_NAN = {
    "float8_e4m3fn": (0x7F, 0xFF),
    "float8_e4m3fnuz": (0x80,),
    "float8_e5m2fnuz": (0x80,),
    "float8_e8m0fnu": (0xFF,),
}
"""The codes that are NaN; there is no infinity."""


def check_values(entries: Iterable[Entry], data: Buffer) -> None:
    """Raise CheckpointError for the first floating-point tensor that holds NaN or infinity.

    Denormal values are finite and pass.
    """
    for entry in entries:
        bad = _count(entry, data) if entry.floating and entry.values else 0
        if bad:
            raise CheckpointError(
                f"the weights hold NaN or infinity in {entry.key[:80]}",
                closest=f"{bad} of {entry.values} values there are not finite",
                remedy="the training diverged or the file is damaged: use an earlier checkpoint",
            )


def _count(entry: Entry, data: Buffer) -> int:
    width = WIDTH[entry.dtype]
    codes = np.frombuffer(data, _code(entry.dtype), entry.span // width, entry.start)
    found = sum(_bad(codes[i : i + BLOCK], entry.dtype) for i in range(0, len(codes), BLOCK))
    if not found or entry.stride == contiguous(entry.shape):
        return found
    view = np.lib.stride_tricks.as_strided(codes, entry.shape, tuple(s * width for s in entry.stride), writeable=False)
    return _bad(view, entry.dtype)


def _code(dtype: str) -> str:
    return NATIVE.get(dtype) or EXPONENT.get(dtype, ("u1", 0))[0]


def _bad(codes: np.ndarray[Any, Any], dtype: str) -> int:
    """How many of the codes are NaN or infinite."""
    if dtype in NATIVE:
        return codes.size - int(np.count_nonzero(np.isfinite(codes)))
    if dtype in EXPONENT:
        mask = EXPONENT[dtype][1]
        return int(np.count_nonzero((codes & mask) == mask))
    return int(np.count_nonzero(np.isin(codes, ONE_NAN[dtype])))
