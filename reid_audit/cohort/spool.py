"""Rendered films of one run: in memory while they are few, beyond that in a file that no name leads to."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import IO, Protocol

import numpy as np

from reid_audit.cohort.rendered import Packed
from reid_audit.errors import CohortError

MEMORY_BYTES = 1 << 28
"""Bytes of films that are kept in memory."""


class Place(Protocol):
    """Where one film is."""

    def read(self) -> Packed:
        """The film as it was packed."""


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """A film in memory."""

    packed: Packed

    def read(self) -> Packed:
        """The film, which is in memory."""
        return self.packed


@dataclass(frozen=True, slots=True, eq=False)
class InFile:
    """A film in an open file."""

    file: IO[bytes]
    offset: int
    like: Packed
    """An empty array of its type and shape."""

    def read(self) -> Packed:
        """The film, read from the file that it was put aside in."""
        self.file.seek(self.offset)
        content = self.file.read(self.like.dtype.itemsize * int(np.prod(self.like.shape)))
        return np.frombuffer(content, self.like.dtype).reshape(self.like.shape)


@dataclass(slots=True)
class Spool:
    """Films of one run. The file has no name, so that it is gone with the process, however that ends."""

    most: int = MEMORY_BYTES
    held: int = 0
    written: int = 0
    file: IO[bytes] | None = None
    likes: dict[tuple[str, tuple[int, ...]], Packed] = field(default_factory=dict)

    def add(self, packed: Packed) -> Place:
        """Keep a film. Raises CohortError where there is no room for it."""
        if self.held + packed.nbytes <= self.most:
            self.held += packed.nbytes
            return InMemory(packed)
        try:
            self.file = self.file or tempfile.TemporaryFile(prefix="reid-audit-films-", buffering=0)  # noqa: SIM115 - the run's
            self.file.seek(self.written)
            content = packed.tobytes()
            if self.file.write(content) < len(content):
                raise OSError("the file system took only a part of a film")
        except OSError as error:
            raise CohortError(
                f"no room for the films: {error.strerror or error}",
                closest=f"{(self.held + self.written) / 1e9:.1f} GB are in memory and in {tempfile.gettempdir()}",
                remedy="give --cache a folder with room, or set TMPDIR to one",
            ) from error
        offset, self.written = self.written, self.written + len(content)
        form = (packed.dtype.str, packed.shape)
        like = self.likes.setdefault(form, np.broadcast_to(np.zeros((), packed.dtype), packed.shape))
        return InFile(self.file, offset, like)
