"""A pickle without torch's container: read where it holds a dictionary of numpy arrays, as some model zoos publish."""

from __future__ import annotations

from dataclasses import dataclass

from reid_audit.checkpoint.archive import damaged
from reid_audit.checkpoint.explain import refuse_joblib
from reid_audit.checkpoint.hunt import LOOKED_AT, attacks, refuse_attacks
from reid_audit.checkpoint.inert import StorageSpec
from reid_audit.checkpoint.layout import Buffer
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import Scan, glanced, scan


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """A pickle that has been scanned. It has no storages: what is not written into it is missing."""

    scan: Scan

    def place(self, spec: StorageSpec) -> tuple[int, int]:
        """Raises CheckpointError: there is none."""
        raise damaged(f"storage {spec.key[:40]!r} is missing", "a plain pickle has no storages")


def open_plain(data: Buffer, limits: Limits) -> Plain:
    """Scan the first pickle, and look for attacks in what follows it."""
    refuse_joblib(glanced(bytes(data[: limits.header_bytes]), 0).names)
    found = scan(data, limits.opcodes, size=limits.header_bytes)
    refuse_attacks(attacks(bytes(data[found.length : found.length + LOOKED_AT])))
    return Plain(found)
