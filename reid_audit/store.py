"""Run directory: finished attack runs, written atomically, so that an interrupted audit can go on."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_audit.atomic import gone_unless_whole
from reid_audit.observer import Noted, Observer

State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RunStore:
    """Finished attack runs below ``folder`` (mode 0700: they hold images). None: nothing is kept."""

    folder: Path | None = None
    earlier: tuple[Path, ...] = ()
    """Folders of other runs whose attack runs may be used again, the best first; nothing is written to them."""

    def load(self, name: str, inputs: str) -> State | None:
        """Tensors and values of an attack run of an earlier run made from the same ``inputs`` (a SHA-256), or None."""
        found = (self._read(folder / f"{name}.safetensors", inputs) for folder in self.earlier)
        return next((state for state in found if state is not None), None)

    @staticmethod
    def _read(path: Path, inputs: str) -> State | None:
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("inputs") != inputs:
                    return None
                return {key: file.get_tensor(key) for key in list(file.keys())}, json.loads(metadata["values"])
        except (SafetensorError, KeyError, ValueError, OSError):
            return None  # a damaged file is worth no more than none: the attack runs again

    def save(self, name: str, inputs: str, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Keep a finished attack run; the file appears whole or not at all."""
        if self.folder is not None:
            kept = save(tensors, metadata={"inputs": inputs, "values": json.dumps(values)})
            write_private(self.folder / f"{name}.safetensors", kept)


def write_private(path: Path, content: bytes | str) -> None:
    """Write a file of mode 0600 in a folder of mode 0700; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    write_secret(path, content)


def write_secret(path: Path, content: bytes | str) -> None:
    """Write a file of mode 0600 into a folder as it is; it appears whole or not at all.

    Runs that share a folder may write one file at a time, each to a draft of its own.
    """
    draft = path.with_suffix(f".{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with gone_unless_whole(draft), os.fdopen(descriptor, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


@contextmanager
def kept_or_noted(observer: Observer, what: str) -> Iterator[None]:
    """The body keeps something for a later run: where it cannot, the observer is told, and this run goes on."""
    try:
        yield
    except OSError as error:
        observer.notice(Noted(f"{what} is not kept: {error.strerror or error}"))
