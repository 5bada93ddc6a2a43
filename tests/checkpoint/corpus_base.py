"""What a hostile case is, and how files for it are put together."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import torch

from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.layout import Layout
from reid_audit.checkpoint.limits import DEFAULT
from reid_audit.checkpoint.read import read_layout
from reid_audit.checkpoint.sniff import HEAD_BYTES, sniff

UNSAFE, BROKEN = 5, 3
STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.ones(2)}


@dataclass(frozen=True, slots=True)
class Case:
    """One file that must be refused."""

    kind: str
    """Class of attack: one case of each also runs through the command line."""
    name: str
    make: Callable[[], bytes]
    code: int
    phrase: str = ""
    """Part of the first line."""


def case(kind: str, name: str, data: bytes, code: int, phrase: str = "") -> Case:
    """A case whose bytes are at hand."""
    return Case(kind, name, lambda: data, code, phrase)


def parse(data: bytes, pickled_code: PickledCode = "warn") -> Layout:
    """What the parent and the child process do, in this process."""
    return read_layout(io.BytesIO(data), data, sniff(data[:HEAD_BYTES], len(data)), DEFAULT, pickled_code)


def saved(document: object, *, legacy: bool = False) -> bytes:
    """torch.save into memory."""
    buffer = io.BytesIO()
    torch.save(document, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def zipped(programme: bytes, extra: dict[str, bytes] | None = None) -> bytes:
    """A torch zip around a hand-written pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", programme)
        archive.writestr("archive/version", b"3\n")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy(programme: bytes, *, keys: bytes = b"\x80\x02].", system: bytes = b"\x80\x02}.", rest: bytes = b"") -> bytes:
    """A legacy file around a hand-written pickle."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    return magic + b"\x80\x02M\xe9\x03." + system + programme + keys + rest


def tensors_file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file whose header may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data
