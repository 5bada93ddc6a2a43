"""torch.save files from before 2020: five pickles in a row, then the storages."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from reid_audit.checkpoint.archive import damaged
from reid_audit.checkpoint.inert import InertUnpickler, StorageSpec
from reid_audit.checkpoint.layout import WIDTH, Buffer
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import Scan, refuse_unsafe, scan

SMALL = 4096
"""Bytes of the pickles that say nothing about tensors: magic number, protocol, system."""


@dataclass(frozen=True, slots=True, eq=False)
class Legacy:
    """A legacy file whose pickles have been scanned and whose storages have been found."""

    programme: bytes
    scan: Scan
    spans: dict[str, tuple[int, int]]

    def place(self, spec: StorageSpec) -> tuple[int, int]:
        """Where a storage's bytes are. Raises CheckpointError where it is missing."""
        if spec.key not in self.spans:
            raise damaged(f"storage {spec.key[:40]!r} is missing", f"{len(self.spans)} storages are there")
        return self.spans[spec.key]


def open_legacy(data: Buffer, limits: Limits) -> Legacy:
    """Scan the five pickles (magic number, protocol, system, object, storage keys), then find the storages."""
    at, names, programmes = 0, dict[str, None](), list[bytes]()
    for ceiling in (SMALL, SMALL, SMALL, limits.header_bytes, limits.header_bytes):
        programme = bytes(data[at : at + ceiling])
        found = scan(programme, limits.opcodes)
        refuse_unsafe(found)
        programmes.append(programme[: found.length])
        names.update(dict.fromkeys(found.names))
        at += found.length
    system, keys = (_load(programmes[i]) for i in (2, 4))
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise damaged("it was written on a machine with another byte order", "little-endian files are read")
    if not isinstance(keys, list):
        raise damaged("its list of storages is not a list", f"it is a {type(keys).__name__}")
    scanned = Scan(tuple(names), len(programmes[3]))
    return Legacy(programmes[3], scanned, _spans(data, at, [str(k) for k in keys], programmes[3]))


def _load(programme: bytes) -> Any:
    return InertUnpickler(io.BytesIO(programme)).load()


def _spans(data: Buffer, at: int, keys: list[str], programme: bytes) -> dict[str, tuple[int, int]]:
    collector = _Collector(io.BytesIO(programme))
    collector.load()
    found = {}
    for key in keys:
        if key not in collector.dtypes or at + 8 > len(data):
            raise damaged(f"storage {key[:40]!r} is missing", "the file ends before it")
        count = struct.unpack_from("<q", data, at)[0]
        stop = at + 8 + count * WIDTH.get(collector.dtypes[key], 1)
        if count < 0 or stop > len(data):
            raise damaged(f"storage {key[:40]!r} is cut off", f"the file has {len(data)} bytes")
        found[key] = (at + 8, stop)
        at = stop
    return found


class _Collector(InertUnpickler):
    """Remembers the dtype of every storage it meets."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def persistent_load(self, pid: object, /) -> StorageSpec:
        spec = super().persistent_load(pid)
        self.dtypes[spec.key] = spec.dtype
        return spec
