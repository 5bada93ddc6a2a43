"""From described entries to places in the file: every description is checked, no value has been read yet."""

from __future__ import annotations

import codecs
import math
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from reid_audit.checkpoint.inert import ArraySpec, Placed, StorageSpec, TensorSpec, UnsupportedSpec
from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError

Buffer = bytes | mmap.mmap
Place = Callable[[StorageSpec], tuple[int, int]]
"""First byte of a storage in the file, and the byte behind its last."""

WIDTH: dict[str, int] = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8, "bool": 1, "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip
"""Bytes of one value."""
LONGEST_KEY = 500
AXES = 64
LARGEST = 2**62
REMEDY = "save dense, finite floating-point weights: torch.save(model.float().state_dict(), 'weights.pt')"


class Entry(NamedTuple):
    """One dense tensor: where its first value is in the file, and how the others follow."""

    key: str
    dtype: str
    start: int
    """Byte of the first value; 0 where the tensor is empty."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In values; 0 for axes of one value."""
    coding: str = ""
    """How the values are written: empty, as they are; ``text``, each byte a character of UTF-8; ``hex``, here."""
    stop: int = 0
    """Of a ``text``: the byte behind its last."""
    literal: str = ""
    """Of ``hex``: the values, where a pickle holds a few."""

    @property
    def values(self) -> int:
        """How many values the tensor has."""
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Bytes from the first value to behind the last one in the file."""
        if not self.values:
            return 0
        return (1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))) * WIDTH[self.dtype]

    @property
    def floating(self) -> bool:
        """Whether the values are real numbers."""
        return is_floating(self.dtype)


@dataclass(frozen=True, slots=True)
class Other:
    """A further network of the file: its tensors in file order, or why they are not read."""

    name: str
    """Where in the file it is, in words that can be shown."""
    entries: tuple[Entry, ...]
    refused: str = ""
    prefix: str = ""
    """What all names began with, in words that can be shown."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The model's own tensors in file order, and what lies beside them."""

    entries: tuple[Entry, ...]
    wrapper: str
    findings: tuple[str, ...]
    name: str = ""
    """Where in the file the model is, in words that can be shown; empty: at the top."""
    prefix: str = ""
    """What all its names began with, in words that can be shown."""
    others: tuple[Other, ...] = ()
    """What else is shaped like a network."""
    beside: tuple[str, ...] = ()
    """Floating-point tensors in no network, in words that can be shown."""
    apart: tuple[str, ...] = ()
    """Those of them that could be weights of one."""
    code: tuple[str, ...] = ()
    """Names in the pickle that are neither listed nor known to run something."""

    @property
    def every(self) -> tuple[Entry, ...]:
        """Entries of all networks."""
        return (*self.entries, *(entry for other in self.others for entry in other.entries))


def is_floating(dtype: str) -> bool:
    """Whether torch's dtype of that name holds real numbers."""
    return dtype.startswith(("float", "bfloat"))


def is_half(dtype: str) -> bool:
    """Whether the dtype is read as fp32."""
    return is_floating(dtype) and WIDTH[dtype] < 4


def contiguous(shape: Iterable[int]) -> tuple[int, ...]:
    """Row-major strides, 0 for axes of one value."""
    strides: list[int] = []
    step = 1
    for extent in reversed(tuple(shape)):
        strides.append(step if extent > 1 else 0)
        step *= extent
    return tuple(reversed(strides))


def unfolded(entry: Entry, stored: Iterable[bytes]) -> Iterator[bytes]:
    """The ``span`` bytes of an entry with a ``coding``, block by block; ``stored`` are the file's bytes of a ``text``.

    Raises CheckpointError where they are not that many.
    """
    left = entry.span
    try:
        if entry.coding == "hex":
            blocks = iter((bytes.fromhex(entry.literal),))
        else:
            decoded = codecs.iterdecode(stored, "utf-8")
            blocks = (text.encode("latin-1") for text in decoded)
        for block in blocks:
            left -= len(block)
            yield block
    except ValueError:
        left = -1
    if left:
        raise refused(entry.key, "has other values than its shape needs")


def lay_out(described: dict[str, Any], place: Place, size: int, limits: Limits) -> tuple[Entry, ...]:
    """Places of all ``described`` tensors in a file of ``size`` bytes.

    Raises CheckpointError where an entry is no dense real tensor, points outside its storage, has an unprintable name,
    where all together would unpack to far more than the file holds, or where none is a floating-point tensor.
    """
    if len(described) > limits.keys:
        raise CheckpointError(
            f"the file names {len(described)} tensors", closest=f"at most {limits.keys} are read", remedy=REMEDY
        )
    left = limits.unpacked(size)
    entries = []
    for key, spec in described.items():
        _check_name(key)
        entry = _entry(key, spec, place)
        left -= max(entry.values * WIDTH[entry.dtype], entry.span)
        if left < 0:
            raise too_large(size, limits)
        entries.append(entry)
    if not any(entry.floating and entry.values for entry in entries):
        raise CheckpointError(
            "the file holds no floating-point weights",
            closest=f"{len(entries)} tensors, all of them integers or empty",
            remedy=REMEDY,
        )
    return tuple(entries)


def too_large(size: int, limits: Limits) -> CheckpointError:
    """The refusal of tensors that a file of ``size`` bytes cannot hold."""
    return CheckpointError(
        "its tensors unpack to far more than the file's size",
        closest=f"at most {limits.unpacked(size)} bytes for a file of {size}",
        remedy=REMEDY,
    )


def _check_name(key: str) -> None:
    if not key or len(key) > LONGEST_KEY or not key.isprintable():
        raise CheckpointError(
            "a tensor's name is empty, overlong or holds control characters",
            closest=f"{len(key)} characters",
            remedy="save the state_dict as the model names it",
        )


def _entry(key: str, spec: Any, place: Place) -> Entry:
    if isinstance(spec, UnsupportedSpec):
        raise refused(key, f"is {spec.kind}")
    if not isinstance(spec, TensorSpec) or not isinstance(spec.storage, StorageSpec | ArraySpec):
        raise refused(key, "has no storage")
    shape, stride, offset = spec.shape, spec.stride, spec.offset
    if not (_sizes(shape) and _sizes(stride) and type(offset) is int and len(shape) == len(stride) and offset >= 0):
        raise refused(key, "has an impossible shape")
    if math.prod(max(extent, 1) for extent in shape) >= LARGEST:
        raise refused(key, "has an impossible shape")
    dtype = spec.storage.dtype if spec.dtype is None else spec.dtype
    if not isinstance(dtype, str) or dtype not in WIDTH:
        raise refused(key, f"has the unknown dtype {str(dtype)[:40]}")
    if dtype.startswith("complex"):
        raise refused(key, "is complex")
    width = WIDTH[dtype]
    steps = tuple(s if n > 1 else 0 for n, s in zip(shape, stride, strict=True))
    if isinstance(spec.storage, ArraySpec):
        return _array(Entry(key, dtype, 0, tuple(shape), steps), spec.storage.content)
    start, stop = place(spec.storage)
    if (stop - start) % width:
        raise refused(key, "has a storage of broken length")
    entry = Entry(key, dtype, start + offset * width, tuple(shape), steps)
    if not entry.values:
        return entry._replace(start=0)
    if entry.start + entry.span > stop:
        raise refused(key, "reaches outside its storage")
    return entry


def _array(entry: Entry, content: bytes | Placed) -> Entry:
    """An array whose values are in the pickle itself."""
    length = len(content) if isinstance(content, bytes) else content.stop - content.start
    text = isinstance(content, Placed) and content.coding == "text"
    if not entry.span <= length <= (2 if text else 1) * entry.span:
        raise refused(entry.key, "has other values than its shape needs")
    if not entry.values:
        return entry
    if isinstance(content, bytes):
        return entry._replace(coding="hex", literal=content.hex())
    return entry._replace(start=content.start, coding="text" if text else "", stop=content.stop if text else 0)


def _sizes(values: Any) -> bool:
    """Whether these are extents or strides of at most ``AXES`` axes."""
    listed = isinstance(values, tuple | list) and len(values) <= AXES
    return listed and all(type(v) is int and 0 <= v < LARGEST for v in values)


def refused(key: str, why: str) -> CheckpointError:
    """The refusal of one tensor."""
    shown = key[:80] if key.isprintable() else "a tensor"
    return CheckpointError(f"{shown} {why}", closest="dense real tensors with their values are read", remedy=REMEDY)
