"""torch.save files from before 2020: five pickles in a row, then the storages."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid_audit.checkpoint.archive import damaged
from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.hunt import LOOKED_AT, attacks, refuse_attacks
from reid_audit.checkpoint.inert import Placed, StorageSpec
from reid_audit.checkpoint.layout import WIDTH, Buffer
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.reader import InertUnpickler
from reid_audit.checkpoint.scan import Scan, refuse_unsafe, scan

SMALL = 4096
"""Bytes of the pickles that say nothing about tensors: magic number, protocol, system."""


@dataclass(frozen=True, slots=True, eq=False)
class Legacy:
    """A legacy file whose pickles have been scanned and whose storages have been found."""

    scan: Scan
    """Of the object; its names are those of all five pickles."""
    spans: dict[str, tuple[int, int]]

    def place(self, spec: StorageSpec) -> tuple[int, int]:
        """Where a storage's bytes are. Raises CheckpointError where it is missing."""
        if spec.key not in self.spans:
            raise damaged(f"storage {spec.key[:40]!r} is missing", f"{len(self.spans)} storages are there")
        return self.spans[spec.key]


def open_legacy(data: Buffer, limits: Limits, pickled_code: PickledCode) -> Legacy:
    """Scan the five pickles (magic number, protocol, system, object, storage keys), then find the storages."""
    at, names, scans = 0, dict[str, None](), list[Scan]()
    for ceiling in (SMALL, SMALL, SMALL, limits.header_bytes, limits.header_bytes):
        stop = at + SMALL if ceiling == SMALL else None
        found = scan(data, limits.opcodes, start=at, stop=stop, size=ceiling)
        refuse_unsafe(found, pickled_code)
        scans.append(found)
        names.update(dict.fromkeys(found.names))
        at += found.length
    system, keys = (_load(scans[i]) for i in (2, 4))
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise damaged("it was written on a machine with another byte order", "little-endian files are read")
    if not isinstance(keys, list):
        raise damaged("its list of storages is not a list", f"it is a {type(keys).__name__}")
    scanned = replace(scans[3], names=tuple(names))
    return Legacy(scanned, _spans(data, at, [str(k) for k in keys], scanned, pickled_code))


def _load(found: Scan) -> Any:
    return InertUnpickler(found.programme).load()


def _spans(
    data: Buffer, at: int, keys: list[str], found: Scan, pickled_code: PickledCode
) -> dict[str, tuple[int, int]]:
    collector = _Collector(found.programme, found.placed, pickled_code)
    collector.load()
    spans = {}
    for key in keys:
        if key not in collector.dtypes or at + 8 > len(data):
            raise damaged(f"storage {key[:40]!r} is missing", "the file ends before it")
        count = struct.unpack_from("<q", data, at)[0]
        stop = at + 8 + count * WIDTH.get(collector.dtypes[key], 1)
        if count < 0 or stop > len(data):
            raise damaged(f"storage {key[:40]!r} is cut off", f"the file has {len(data)} bytes")
        spans[key] = (at + 8, stop)
        at = stop
    refuse_attacks(attacks(bytes(data[at : at + LOOKED_AT])))
    return spans


class _Collector(InertUnpickler):
    """Remembers the dtype of every storage it meets."""

    def __init__(self, programme: bytes, placed: Sequence[Placed], pickled_code: PickledCode) -> None:
        super().__init__(programme, placed, pickled_code)
        self.dtypes: dict[str, str] = {}

    def persistent_load(self, pid: object, /) -> Any:
        spec = super().persistent_load(pid)
        if isinstance(spec, StorageSpec):
            self.dtypes[spec.key] = spec.dtype
        return spec
