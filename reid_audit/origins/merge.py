"""Several safetensors files -> the one that they are parts of, byte by byte; no tensor is decoded."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from reid_audit.checkpoint.header import Header, read_header
from reid_audit.checkpoint.limits import DEFAULT, Limits
from reid_audit.errors import CheckpointError

CHUNK = 16 * 2**20


def parts_of(raw: bytes, limits: Limits = DEFAULT) -> dict[str, str]:
    """Tensor -> file, of the index of a sharded checkpoint. Files are plain names beside it. Raises CheckpointError."""
    table: Any = {}
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        table = json.loads(raw)["weight_map"] if len(raw) <= limits.header_bytes else {}
    if not isinstance(table, dict) or not 0 < len(table) <= limits.keys or not all(map(_is_plain, table.values())):
        raise CheckpointError(
            "the index of the sharded checkpoint cannot be used",
            closest="needed is a table weight_map of tensors and safetensors files beside it",
            remedy="merge the parts yourself, and audit the file",
        )
    return table


def _is_plain(name: object) -> bool:
    return (
        isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors") and not name.startswith(".")
    )


def merge(parts: Mapping[str, Path], index: Mapping[str, str], out: Path, limits: Limits = DEFAULT) -> Path:
    """Write the tensors of all ``parts`` (name -> file) to ``out``; the same parts give the same bytes.

    index: tensor -> part. Raises CheckpointError where parts and index do not say the same.
    """
    with ExitStack() as stack:
        views = {name: stack.enter_context(_mapped(stack, parts[name])) for name in sorted(parts)}
        if (size := sum(map(len, views.values()))) > limits.file_bytes:
            raise CheckpointError(
                f"the parts of the sharded checkpoint have {size} bytes",
                closest=f"at most {limits.file_bytes} are read",
                remedy="audit a smaller model",
            )
        headers = {name: read_header(view, limits) for name, view in views.items()}
        _same(headers, index)
        entries, order = _laid_out(headers, views)
        text = json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with out.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for part, start, stop in order:
                for place in range(start, stop, CHUNK):
                    file.write(views[part][place : min(place + CHUNK, stop)])
    return out


def _mapped(stack: ExitStack, path: Path) -> mmap.mmap:
    file = stack.enter_context(path.open("rb"))
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} is empty", closest="a part of a sharded checkpoint", remedy="fetch it again"
        ) from error


def _same(headers: Mapping[str, Header], index: Mapping[str, str]) -> None:
    stored = [(key, part) for part, header in headers.items() for key in header.tensors]
    if len(stored) != len(index) or dict(stored) != dict(index):
        strange = sorted(set(stored) ^ set(index.items()))[:1]
        raise CheckpointError(
            "the parts of the sharded checkpoint do not hold what its index lists",
            closest=f"tensor {strange[0][0][:80]!r}" if strange else "a tensor stands in two parts",
            remedy="publish the model again, or audit the merged file",
        )


def _laid_out(
    headers: Mapping[str, Header], views: Mapping[str, mmap.mmap]
) -> tuple[dict[str, Any], Sequence[tuple[str, int, int]]]:
    """The header of the whole, and (part, first byte, byte behind the last) in the order they are written."""
    entries: dict[str, Any] = {}
    order: list[tuple[str, int, int]] = []
    end = 0
    for part, header in headers.items():
        length = struct.unpack("<Q", views[part][:8])[0]
        described = json.loads(views[part][8 : 8 + length])
        for key, (start, stop) in sorted(header.places.items(), key=lambda item: item[1]):
            entry = described[key]
            entries[key] = {
                "dtype": entry["dtype"],
                "shape": entry["shape"],
                "data_offsets": [end, end + stop - start],
            }
            order.append((part, start, stop))
            end += stop - start
    return entries, order
