"""Ceilings on what a file may cost to read."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings of one read."""

    file_bytes: int = 32 * GIB
    """Larger files are refused unread."""
    header_bytes: int = 32 * MIB
    """safetensors header, pickle programme."""
    keys: int = 200_000
    expansion: int = 10
    """How many times its own size a file may unpack to (compression, overlapping or expanded tensors)."""
    seconds: float = 120.0
    """Wall clock of the reading process, plus one second per 20 MiB."""

    def unpacked(self, file_bytes: int) -> int:
        """Bytes that ``file_bytes`` of file may become."""
        return self.expansion * file_bytes + 16 * MIB

    def memory(self, file_bytes: int) -> int:
        """Bytes the reading process may allocate beyond its imports."""
        return 512 * MIB + 4 * file_bytes

    def deadline(self, file_bytes: int) -> float:
        """Seconds the reading process may take."""
        return self.seconds + file_bytes / (20 * MIB)


DEFAULT = Limits()
