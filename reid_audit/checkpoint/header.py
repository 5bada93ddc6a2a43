"""safetensors headers, read with distrust before anything else touches the file."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

from reid_audit.checkpoint.inert import StorageSpec, TensorSpec
from reid_audit.checkpoint.layout import Buffer, contiguous
from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError

DTYPES: dict[str, tuple[str, int]] = {
    "BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "U16": ("uint16", 2), "I16": ("int16", 2),
    "U32": ("uint32", 4), "I32": ("int32", 4), "U64": ("uint64", 8), "I64": ("int64", 8),
    "F8_E5M2": ("float8_e5m2", 1), "F8_E4M3": ("float8_e4m3fn", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1), "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F16": ("float16", 2), "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8),
    "C64": ("complex64", 8),
}  # fmt: skip
"""safetensors dtype -> torch's name and bytes of one value."""
LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Header:
    """A header that describes its file exactly."""

    tensors: dict[str, TensorSpec]
    """In the order of the header."""
    metadata: dict[str, str]
    places: dict[str, tuple[int, int]]
    """First byte of each tensor in the file, and the byte behind its last."""

    def place(self, spec: StorageSpec) -> tuple[int, int]:
        """Where a tensor's bytes are."""
        return self.places[spec.key]


def read_header(data: Buffer, limits: Limits) -> Header:
    """Validate the header of a safetensors file.

    Every tensor must lie inside the file, sizes must follow from dtype and shape, and the tensors must tile the
    data without gap or overlap (the format's own rule). Raises CheckpointError.
    """
    size = len(data)
    length = struct.unpack("<Q", _exactly(data, 0, 8))[0]
    if length > limits.header_bytes or length > size - 8:
        raise _lie(f"its header claims {length} bytes", f"the file has {size}, at most {limits.header_bytes} are read")
    document = _parse(_exactly(data, 8, length))
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise _lie("its metadata is not a table of texts", "safetensors allows only string metadata")
    if len(document) > limits.keys:
        raise _lie(f"it names {len(document)} tensors", f"at most {limits.keys} are read")
    spans = sorted(_span(name, entry) for name, entry in document.items())
    end = 0
    for start, stop, name in spans:
        if start != end:
            raise _lie(f"tensor {name[:80]!r} starts at byte {start}", f"the tensor before it ends at byte {end}")
        end = stop
    if end != size - 8 - length:
        raise _lie(f"its tensors end at byte {end} of the data", f"the data has {size - 8 - length} bytes")
    places = {name: (8 + length + start, 8 + length + stop) for start, stop, name in spans}
    return Header({name: _spec(name, entry) for name, entry in document.items()}, metadata, places)


def _parse(raw: bytes) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ValueError("a name occurs twice")
        return table

    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _lie("its header is not valid JSON", str(error)[:120]) from None
    if not isinstance(document, dict):
        raise _lie("its header is not a table", f"it is a {type(document).__name__}")
    return document


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _lie(f"tensor {name[:80]!r} is not described", "needed are dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _lie(f"tensor {name[:80]!r} has an unknown dtype", f"known are {', '.join(DTYPES)}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise _lie(f"tensor {name[:80]!r} has an impossible shape or place", "sizes are whole numbers from 0 to 2^62")
    values = 1
    for extent in shape:
        values *= extent
        if values > LARGEST:
            raise _lie(f"tensor {name[:80]!r} claims more than 2^62 values", "no file holds that")
    start, stop = offsets
    needed = values * DTYPES[dtype][1]
    if stop - start != needed:
        raise _lie(f"tensor {name[:80]!r} has {stop - start} bytes", f"its shape and dtype need {needed}")
    return start, stop, name


def _spec(name: str, entry: dict[str, Any]) -> TensorSpec:
    shape = entry["shape"]
    return TensorSpec(StorageSpec(DTYPES[entry["dtype"]][0], name, math.prod(shape)), 0, shape, contiguous(shape))


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= LARGEST for v in values)


def _exactly(data: Buffer, start: int, count: int) -> bytes:
    found = bytes(data[start : start + count])
    if len(found) != count:
        raise _lie("it ends inside its header", f"{len(found)} of {count} bytes are there")
    return found


def _lie(what: str, closest: str) -> CheckpointError:
    return CheckpointError(
        f"the safetensors file is damaged: {what}", closest=closest, remedy="download or save it again"
    )
