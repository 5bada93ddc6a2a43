"""Are the network's stored values finite? Read in blocks from the mapped file, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_audit.checkpoint.layout import WIDTH, Buffer, Entry, contiguous, unfolded
from reid_audit.errors import CheckpointError

BLOCK = 2**20
NATIVE = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
EXPONENT = {"bfloat16": ("<u2", 0x7F80), "float8_e5m2": ("u1", 0x7C)}
"""Not finite where all these bits are set."""
MANTISSA = {"bfloat16": 0x7F, "float8_e5m2": 0x03}
"""NaN where one of these is set, too; infinite otherwise."""
ONE_NAN = {
    "float8_e4m3fn": (0x7F, 0xFF),
    "float8_e4m3fnuz": (0x80,),
    "float8_e5m2fnuz": (0x80,),
    "float8_e8m0fnu": (0xFF,),
}
"""The codes that are NaN; there is no infinity."""
UNBOUNDED = re.compile(r"mask[^.]*$|(^|\.)_?(min_vals?|max_vals?|amax|amin)$", re.IGNORECASE)
"""Infinite by design: additive attention masks, and observers of fake quantisation that have seen nothing yet."""
TRAINING = re.compile(r"(^|[._])(metrics?|criterion|loss(es)?|loss_fn)([._]|$)", re.IGNORECASE)
"""Losses and metrics of a training framework."""
SCORES = re.compile(r"(^|[._])(auroc|auc|acc|accuracy|f1|dice|confmat|best)([._]|$)", re.IGNORECASE)
LEARNED = re.compile(r"(weight|bias|scale|gamma|beta|alpha|temperature|kernel|running_(mean|var))[^.]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is left of the entries, and what is to be said of them."""

    entries: tuple[Entry, ...]
    findings: tuple[str, ...] = ()


def check_values(entries: Iterable[Entry], data: Buffer) -> Checked:
    """Raise CheckpointError for the first tensor of a network that holds NaN or infinity.

    Denormal values are finite and pass. Masks and observers may be infinite; metrics, losses and single numbers that
    are not finite are left out. Findings name both.
    """
    kept, unbounded, left_out = [], [], []
    for entry in entries:
        bad, nan = _count(entry, data) if entry.floating and entry.values else (0, 0)
        if bad and not nan and UNBOUNDED.search(entry.key):
            unbounded.append(entry.key)
        elif bad and _beside(entry):
            left_out.append(entry.key)
            continue
        elif bad:
            raise _diverged(entry.key, f"{bad} of {entry.values} values there are not finite")
        kept.append(entry)
    if left_out and not any(entry.floating and entry.values for entry in kept):
        raise _diverged(left_out[0], "no other weights are in the file")
    said = (_said("infinite, as masks and observers are", unbounded), _said("not finite and left out", left_out))
    return Checked(tuple(kept), tuple(filter(None, said)))


def _diverged(key: str, closest: str) -> CheckpointError:
    return CheckpointError(
        f"the weights hold NaN or infinity in {key[:80]}",
        closest=closest,
        remedy="the training diverged or the file is damaged: use an earlier checkpoint",
    )


def _beside(entry: Entry) -> bool:
    """Whether a tensor that is not finite is none of a network's: a metric, a loss, a single number."""
    if TRAINING.search(entry.key):
        return True
    return not LEARNED.search(entry.key) and (not entry.shape or bool(SCORES.search(entry.key)))


def _said(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{what}: {', '.join(key[:80] for key in keys[:3])}{more}" if keys else ""


def _count(entry: Entry, data: Buffer) -> tuple[int, int]:
    """Values that are not finite, and those of them that are NaN."""
    width = WIDTH[entry.dtype]
    if entry.coding:
        return _total(_bad(np.frombuffer(block, _code(entry.dtype)), entry.dtype) for block in _blocks(entry, data))
    codes = np.frombuffer(data, _code(entry.dtype), entry.span // width, entry.start)
    found = _total(_bad(codes[i : i + BLOCK], entry.dtype) for i in range(0, len(codes), BLOCK))
    if not found[0] or entry.stride == contiguous(entry.shape):
        return found
    view = np.lib.stride_tricks.as_strided(codes, entry.shape, tuple(s * width for s in entry.stride), writeable=False)
    return _bad(view, entry.dtype)


def _total(parts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    bad, nan = 0, 0
    for part in parts:
        bad, nan = bad + part[0], nan + part[1]
    return bad, nan


def _blocks(entry: Entry, data: Buffer) -> Iterator[bytes]:
    """Whole values of an entry whose bytes are coded."""
    stored = (bytes(data[at : min(at + BLOCK, entry.stop)]) for at in range(entry.start, entry.stop, BLOCK))
    width, left = WIDTH[entry.dtype], b""
    for block in unfolded(entry, stored):
        left += block
        whole = len(left) - len(left) % width
        yield left[:whole]
        left = left[whole:]


def _code(dtype: str) -> str:
    return NATIVE.get(dtype) or EXPONENT.get(dtype, ("u1", 0))[0]


def _bad(codes: np.ndarray[Any, Any], dtype: str) -> tuple[int, int]:
    """How many of the codes are NaN or infinite, and how many are NaN."""
    if dtype in NATIVE:
        bad = codes.size - int(np.count_nonzero(np.isfinite(codes)))
        return bad, int(np.count_nonzero(np.isnan(codes))) if bad else 0
    if dtype in EXPONENT:
        mask = EXPONENT[dtype][1]
        bad_codes = codes[(codes & mask) == mask]
        return bad_codes.size, int(np.count_nonzero(bad_codes & MANTISSA[dtype]))
    bad = int(np.count_nonzero(np.isin(codes, ONE_NAN[dtype])))
    return bad, bad
