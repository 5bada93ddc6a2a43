"""What an audit depends on, as digests: a finished one is not done again as long as none of it changed.

Weights, policies, priors and tables are read as a whole. Of films, which are many, name, size and time of change are
looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reid_audit import __version__
from reid_audit.cohort import parse_source
from reid_audit.cohort.entries import alias
from reid_audit.cohort.manifest import column, located, read_manifest
from reid_audit.cohort.tabletext import is_table
from reid_audit.errors import CohortError
from reid_audit.origins.fetch import is_remote
from reid_audit.records.references import GivenReference

CONTENT = ("checkpoint", "policy", "waivers", "base", "encoder", "prior", "prior-patients", "demographics")
FILMS, WORDS = ("reference", "holdout"), ("demographics",)
"""Options that name a file which is read as a whole, those that name films, and those that may be a word too."""


@dataclass(slots=True)
class Inputs:
    """Digests of files and films, each looked at once."""

    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, options: Iterable[tuple[str, str]], more: Mapping[str, str]) -> str:
        """SHA-256 of options with their files, and of ``more``. Raises OSError and CohortError."""
        named = [(flag, value, self.behind(flag, value)) for flag, value in options]
        known = {"reid-audit": __version__, "options": named, "more": dict(more)}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def behind(self, flag: str, value: str) -> str:
        """Digest of what an option names; empty where it names nothing on this machine."""
        key = (flag, value)
        if key not in self.known:
            self.known[key] = self._look(flag, value)
        return self.known[key]

    def given(self, references: Iterable[GivenReference]) -> str:
        """Digest of reference models that a policy names, and of who was in their training. Raises as ``of``."""
        named = [
            (self.behind("base", str(one.checkpoint)), self.behind("base", str(one.splits or one.checkpoint)))
            + ((self.behind("reference", one.trained_on),) if one.trained_on else ())
            for one in references
        ]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def _look(self, flag: str, value: str) -> str:
        path = Path(value)
        if flag in FILMS or (flag == "prior" and not path.is_file()):
            return films(parse_source(value)[0])
        if flag in WORDS and not path.exists():
            return ""
        return content(path) if flag in CONTENT and not is_remote(value) else ""


def content(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names. Raises OSError."""
    if path.is_dir():
        inside = [(str(file.relative_to(path)), content(file)) for file in sorted(path.rglob("*")) if file.is_file()]
        return hashlib.sha256(json.dumps(inside).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def films(source: Path) -> str:
    """SHA-256 of name, size and time of change of every file of a source, and of the content of its table.

    Raises OSError and CohortError.
    """
    digest = hashlib.sha256()
    for line in _listed(source):
        digest.update(line.encode())
    return digest.hexdigest()


def _listed(source: Path) -> Iterator[str]:
    if source.is_dir():
        for place, folders, files in os.walk(source):
            folders.sort()
            yield from (_stamp(Path(place) / name) for name in sorted(files))
        source = source / "manifest.csv"
        if not source.is_file():
            return
    yield f"{_stamp(source)}\n"
    if is_table(source):
        yield content(source)
        header, lines = read_manifest(source)
        key = alias("path", {column(name): name for name in header})
        for line in lines if key is not None else ():
            file = located(source.parent, line.cells[key or ""])
            yield _stamp(file) if file.is_file() else f"{file}: missing\n"


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            return f"{path}: a link to nothing\n"
        raise CohortError(f"{path} does not exist", closest="nothing was audited", remedy="check the path") from None
    return f"{path.absolute()}: {found.st_size} {found.st_mtime_ns}\n"
