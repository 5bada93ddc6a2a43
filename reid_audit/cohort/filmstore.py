"""Films of one source, rendered once and kept on disk: a later run, or one that was killed, goes on from there.

Whether a film is still the one that was kept is known by its file's size, times of change and inode, as Git knows it;
whatever differs, or was too fresh to tell, is decoded again, and so is what does not match its digest. Several runs may
write to one folder at a time: each adds files of its own, and a file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from reid_audit import __version__
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.rendered import Packed, Rendered, unpack
from reid_audit.cohort.segment import SUFFIX, Damaged, Entry, InSegment, Stamp, entry_of, read_index, write_segment
from reid_audit.cohort.source import Row
from reid_audit.cohort.spool import MEMORY_BYTES, Place, Spool
from reid_audit.observer import Noted, Observer

FORMAT = 1
"""Raised where rendering or the files of films change, so that films kept before are decoded again."""
LIBRARIES = ("pillow", "numpy", "pydicom", "pylibjpeg", "python-gdcm")
"""What decodes films: another version may do it in another way."""
SEGMENT_BYTES, SEGMENT_SECONDS = 1 << 26, 30.0
"""A segment is written when it holds so much, or when its first film has waited so long."""
FRESH = 2.0
"""Seconds within which a file system may give two changes of a file the same time."""
ABANDONED = 3600.0
"""Seconds after which a half-written segment belongs to a run that was killed."""


@dataclass(frozen=True, slots=True)
class FilmStore:
    """Where rendered films are kept. They are patients' films: files of mode 0600 in folders of mode 0700."""

    folder: Path | None = None
    """None: nowhere; a run's films are then kept for the run alone."""
    now: Callable[[], float] = time.time
    """Seconds since 1970, to compare with the times of files."""
    memory: int = MEMORY_BYTES
    """Bytes of films that are held in memory where they are kept nowhere."""

    def opened(self, source: Path, frame: Frame) -> Kept:
        """The kept films of ``source`` in ``frame``."""
        one = (frame.channels, frame.side, frame.side)
        kept = Kept(self._place(source, frame), one, frame.observer, self.now, Spool(self.memory))
        kept.look()
        return kept

    def _place(self, source: Path, frame: Frame) -> Path | None:
        if self.folder is None:
            return None
        known = {
            "format": FORMAT,
            "reid-audit": __version__,
            "libraries": {name: _version(name) for name in LIBRARIES},
            "source": str(source.absolute()),
            "frame": [frame.spec.model_dump(mode="json"), frame.side, frame.channels],
        }
        key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return self.folder / f"films-{key[:32]}"


@dataclass(frozen=True, slots=True, eq=False)
class StoredFilms:
    """Rendered films as a ``Stack``: each is read, and unpacked, when it is asked for."""

    places: Sequence[Place]
    one: tuple[int, int, int]
    """[C, side, side]"""

    @property
    def shape(self) -> torch.Size:
        """[N, C, side, side] without reading anything."""
        return torch.Size((len(self), *self.one))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        asked = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        found = np.empty((len(asked), *self.one), dtype=np.float32)
        for place, row in enumerate(asked):
            found[place] = unpack(self.places[row].read())
        return torch.from_numpy(found)


@dataclass(slots=True)
class Pending:
    """Films that wait for their segment."""

    entries: list[Entry] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    films: list[tuple[int, Rendered]] = field(default_factory=list)
    """Where each stands among the run's films."""
    size: int = 0
    since: float = 0.0


@dataclass(slots=True)
class Kept:
    """The films of one source while it is read: those kept before, and those that this run adds."""

    folder: Path | None
    one: tuple[int, int, int]
    observer: Observer
    now: Callable[[], float]
    spool: Spool
    began: float = 0.0
    places: list[Place] = field(default_factory=list)
    """Of the films taken or added so far, in their order."""
    entries: dict[str, list[tuple[Entry, InSegment]]] = field(default_factory=dict)
    """Of every film; several where it was decoded again."""
    stamps: dict[Path, Stamp] = field(default_factory=dict)
    waiting: Pending = field(default_factory=Pending)
    used: int = 0
    changed: int = 0
    damaged: int = 0

    def look(self) -> None:
        """Read the indices of all segments; drop those that cannot be read, and parts that killed runs left."""
        self.began = self.now()
        for part in () if self.folder is None else self.folder.glob("*.part"):
            with suppress(OSError):
                if self.began - part.stat().st_mtime > ABANDONED:
                    part.unlink()
        for path in () if self.folder is None else sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                entries, begins = read_index(path)
            except Damaged:
                self.damaged += 1
                with suppress(OSError):
                    path.unlink()
                continue
            for entry in entries:
                where = InSegment(path, begins + entry.offset, entry.kind, self.one, entry.stored)
                self.entries.setdefault(entry.key, []).append((entry, where))

    def expect(self, count: int) -> None:
        """Room is made film by film."""

    def unsure(self, row: Row) -> bool:
        """Whether nobody knows that the file of ``row`` holds no floats."""
        return all(entry.passed.kind[0] == "float" for entry, _ in self._fresh(row)) if self.entries else True

    def has(self, row: Row, *, as_seen: bool) -> bool:
        """Whether ``row``'s film is kept, and its file unchanged. Asked of every row before anything is decoded."""
        if any(entry.passed.kind[0] != "float" or entry.as_seen == as_seen for entry, _ in self._fresh(row)):
            return True
        self.changed += key_of(row) in self.entries
        return False

    def take(self, row: Row, *, as_seen: bool) -> Entry | None:
        """The kept film of ``row`` as the run's next one; None where it is damaged."""
        for entry, where in self._fresh(row):
            if entry.passed.kind[0] == "float" and entry.as_seen != as_seen:
                continue
            with suppress(Damaged):
                where.checked()
                self.places.append(where)
                self.used += 1
                return entry
        self.damaged += 1
        return None

    def add(self, row: Row, film: Rendered, *, as_seen: bool) -> None:
        """``film`` of ``row`` as the run's next one. Raises CohortError where there is no room for it."""
        if self.folder is None:
            self.places.append(self.spool.add(film.packed))
            return
        waiting, stamp = self.waiting, self._still(row.path)
        entry, content = entry_of(key_of(row), stamp, film, as_seen=as_seen, offset=waiting.size)
        waiting.since = waiting.since if waiting.entries else self.now()
        waiting.entries.append(entry)
        waiting.contents.append(content)
        waiting.films.append((len(self.places), film))
        waiting.size += len(content)
        self.places.append(_Unwritten)
        if waiting.size >= SEGMENT_BYTES or self.now() - waiting.since >= SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; for this run alone where it cannot be written. Raises CohortError."""
        waiting, self.waiting = self.waiting, Pending()
        if self.folder is None or not waiting.entries:
            return
        try:
            path, begins = write_segment(self.folder, waiting.entries, waiting.contents)
        except OSError as error:
            self.observer.notice(Noted(f"films are not kept in {self.folder}: {error.strerror or error}"))
            self.folder = None
            for place, film in waiting.films:
                self.places[place] = self.spool.add(film.packed)
            return
        for (place, _), entry in zip(waiting.films, waiting.entries, strict=True):
            self.places[place] = InSegment(path, begins + entry.offset, entry.kind, self.one, entry.stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def arranged(self, order: list[int]) -> StoredFilms:
        """The first of the run's films, as many as ``order`` holds, in that order."""
        self.flush()
        return StoredFilms([self.places[row] for row in order], self.one)

    def notes(self) -> tuple[str, ...]:
        """What became of the films kept before, in counts."""
        found = [f"{self.used} films taken from the cache"] if self.used else []
        if self.changed:
            found.append(f"{self.changed} films in the cache are of files that changed since: decoded again")
        if self.damaged:
            found.append(f"{self.damaged} damaged films or files of films in the cache: decoded again")
        return tuple(found)

    def _fresh(self, row: Row) -> list[tuple[Entry, InSegment]]:
        """What is kept of ``row``'s film as its file is now."""
        stamp = self._stamp(row.path)
        return [known for known in self.entries.get(key_of(row), ()) if stamp is not None and known[0].stamp == stamp]

    def _stamp(self, path: Path) -> Stamp | None:
        if path not in self.stamps:
            with suppress(OSError):
                self.stamps[path] = stamp_of(path)
        return self.stamps.get(path)

    def _still(self, path: Path) -> Stamp | None:
        """The stamp of a file that was read; None where a change of it might not show."""
        before = self._stamp(path)
        with suppress(OSError):
            if before is not None and stamp_of(path) == before and max(before[1:3]) < (self.began - FRESH) * 1e9:
                return before
        return None


class _NotYet:
    """The place of a film whose segment is not written yet."""

    def read(self) -> Packed:
        raise RuntimeError("a film was asked for before its segment was written")


_Unwritten = _NotYet()


def key_of(row: Row) -> str:
    """What a film is known by."""
    return hashlib.sha256(f"{row.film}{row.axes}:{row.path.absolute()}".encode()).hexdigest()


def stamp_of(path: Path) -> Stamp:
    """Size, times of the last change of content and of anything else (ns), inode. Raises OSError.

    No program can set the second time, so that a file that was replaced or rewritten shows it even where its date was
    put back.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
