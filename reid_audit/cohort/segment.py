"""A file of rendered films with an index: it appears whole or not at all, and every byte of it is under a digest."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from reid_audit.cohort.account import Passed
from reid_audit.cohort.rendered import Packed, Rendered
from reid_audit.errors import CohortError
from reid_audit.records import Scaling
from reid_audit.store import write_private

MAGIC = b"reid-audit film\n"
SUFFIX = ".films"
_LENGTH, _DIGEST = 8, 32
Stamp = tuple[int, ...]
"""What a file's content cannot change without: see ``stamp_of``."""


class Damaged(Exception):
    """A segment, or a film in it, is not what was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a segment says of one film."""

    key: str
    """SHA-256 of the source file's path and the film's place in it: names of files may name patients."""
    stamp: Stamp | None
    """Of the source file when it was read; None: it was too fresh to tell a later change from it."""
    as_seen: bool
    """Whether float arrays were taken for what the network saw."""
    offset: int
    """Bytes from the end of the index."""
    kind: str
    """NumPy's name of the numbers' type, little-endian."""
    digest: bytes
    """SHA-256 of the film's values (``Rendered.digest``)."""
    stored: bytes
    """SHA-256 of its bytes in the segment."""
    blank: bool
    passed: Passed


@dataclass(frozen=True, slots=True)
class InSegment:
    """Where a film lies."""

    path: Path
    offset: int
    """Bytes from the beginning of the file."""
    kind: str
    shape: tuple[int, int, int]
    stored: bytes

    def read(self) -> Packed:
        """The film as it was packed. Raises CohortError where it is not what was written any more."""
        try:
            return self.checked()
        except Damaged as error:
            raise CohortError(
                f"films kept in {self.path.parent} were changed while the audit was reading them",
                closest=str(error),
                remedy="run the audit again: what is damaged there is decoded again",
            ) from error

    def checked(self) -> Packed:
        """The film as it was packed. Raises Damaged."""
        kind = np.dtype(self.kind)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                content = file.read(kind.itemsize * int(np.prod(self.shape)))
        except OSError as error:
            raise Damaged(str(error)) from error
        if hashlib.sha256(content).digest() != self.stored:
            raise Damaged(f"{self.path.name} does not match its digest")
        return np.frombuffer(content, kind).reshape(self.shape).astype(kind.newbyteorder("="), copy=False)


def entry_of(key: str, stamp: Stamp | None, film: Rendered, *, as_seen: bool, offset: int) -> tuple[Entry, bytes]:
    """What a segment says of ``film``, and its bytes."""
    kind = film.packed.dtype.newbyteorder("<")
    content = np.ascontiguousarray(film.packed, dtype=kind).tobytes()
    stored = hashlib.sha256(content).digest()
    return Entry(key, stamp, as_seen, offset, kind.str, film.digest, stored, film.blank, film.passed), content


def write_segment(folder: Path, entries: Sequence[Entry], contents: Sequence[bytes]) -> tuple[Path, int]:
    """A new segment in ``folder`` (modes 0700 and 0600): its path, and where its films begin. Raises OSError."""
    index = json.dumps([_plain(entry) for entry in entries], separators=(",", ":")).encode()
    head = MAGIC + len(index).to_bytes(_LENGTH, "little") + hashlib.sha256(index).digest() + index
    path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
    write_private(path, b"".join((head, *contents)))
    return path, len(head)


def read_index(path: Path) -> tuple[list[Entry], int]:
    """The entries of a segment, and where its films begin. Raises Damaged."""
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + _LENGTH + _DIGEST)
            length = int.from_bytes(start[len(MAGIC) : len(MAGIC) + _LENGTH], "little")
            if start[: len(MAGIC)] != MAGIC or length > path.stat().st_size:
                raise Damaged(f"{path.name} is no segment of films")
            index = file.read(length)
        if hashlib.sha256(index).digest() != start[-_DIGEST:]:
            raise Damaged(f"the index of {path.name} does not match its digest")
        return [_entry(fields) for fields in json.loads(index)], len(start) + length
    except (OSError, ValueError, TypeError) as error:
        raise Damaged(str(error)) from error


def _plain(entry: Entry) -> list[Any]:
    passed = entry.passed
    name, bits, scaling, declared = passed.kind
    said = None if scaling is None else scaling.model_dump_json()
    film = [name, bits, said, declared, passed.turned, passed.low, passed.high, passed.share]
    digests = [entry.digest.hex(), entry.stored.hex()]
    return [entry.key, entry.stamp, entry.as_seen, entry.offset, entry.kind, *digests, entry.blank, film]


def _entry(fields: list[Any]) -> Entry:
    key, stamp, as_seen, offset, kind, digest, stored, blank, (name, bits, said, declared, *rest) = fields
    passed = Passed((name, bits, _scaling(said), declared), *rest)
    when = None if stamp is None else tuple(stamp)
    return Entry(key, when, as_seen, offset, kind, bytes.fromhex(digest), bytes.fromhex(stored), blank, passed)


@lru_cache(maxsize=64)
def _scaling(said: str | None) -> Scaling | None:
    return None if said is None else Scaling.model_validate_json(said)
