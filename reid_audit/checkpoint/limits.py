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
    opcodes: int = 4_000_000
    """Of one pickle; a tensor takes about 35."""
    keys: int = 20_000
    """Tensors of the model; the largest network of torchvision and timm has under 4,000."""
    zip_entries: int = 100_000
    """With optimiser states and copies."""
    expansion: int = 10
    """How many times its own size a file may unpack to (compression, overlapping or expanded tensors)."""
    seconds: float = 120.0
    """Wall clock of the reading process, plus one second per 20 MiB."""
    processor_seconds: int = 3
    """Processor time of the reading process, plus one second per 10 MiB."""
    result_bytes: int = 128 * MIB
    """What the reading process may write: names, shapes and places, no values."""

    def unpacked(self, file_bytes: int) -> int:
        """Bytes that ``file_bytes`` of file may become."""
        return self.expansion * file_bytes + 16 * MIB

    def memory(self, file_bytes: int) -> int:
        """Address space of the reading process beyond its start: working memory and the mapped file."""
        return 512 * MIB + file_bytes

    def deadline(self, file_bytes: int) -> float:
        """Seconds the reading process may take."""
        return self.seconds + file_bytes / (20 * MIB)

    def processor(self, file_bytes: int) -> int:
        """Seconds of processor time the reading process may take."""
        return self.processor_seconds + file_bytes // (10 * MIB)


DEFAULT = Limits()
