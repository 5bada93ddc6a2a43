"""safetensors headers, read with distrust before anything else touches the file."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError

BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Header:
    """A header that describes its file exactly."""

    keys: tuple[str, ...]
    """Tensor names in file order."""
    metadata: dict[str, str]


def read_header(file: BinaryIO, size: int, limits: Limits) -> Header:
    """Validate the header of a safetensors file of ``size`` bytes.

    Every tensor must lie inside the file, sizes must follow from dtype and shape, and the tensors must tile the
    data without gap or overlap (the format's own rule). Raises CheckpointError.
    """
    length = struct.unpack("<Q", _exactly(file, 8))[0]
    if length > limits.header_bytes or length > size - 8:
        raise _lie(f"its header claims {length} bytes", f"the file has {size}, at most {limits.header_bytes} are read")
    document = _parse(_exactly(file, length))
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
    return Header(keys=tuple(document), metadata={str(k): str(v) for k, v in metadata.items()})


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
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _lie(f"tensor {name[:80]!r} has an unknown dtype", f"known are {', '.join(BITS)}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise _lie(f"tensor {name[:80]!r} has an impossible shape or place", "sizes are whole numbers from 0 to 2^62")
    values = 1
    for extent in shape:
        values *= extent
        if values > LARGEST:
            raise _lie(f"tensor {name[:80]!r} claims more than 2^62 values", "no file holds that")
    start, stop = offsets
    if stop - start != values * BITS[dtype] // 8:
        raise _lie(
            f"tensor {name[:80]!r} has {stop - start} bytes", f"its shape and dtype need {values * BITS[dtype] // 8}"
        )
    return start, stop, name


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= LARGEST for v in values)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise _lie("it ends inside its header", f"{len(data)} of {count} bytes are there")
    return data


def _lie(what: str, closest: str) -> CheckpointError:
    return CheckpointError(
        f"the safetensors file is damaged: {what}", closest=closest, remedy="download or save it again"
    )
