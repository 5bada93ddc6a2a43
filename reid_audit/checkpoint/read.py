"""Parsing of torch files. Called in the child process; tests of single attacks call it directly."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from reid_audit.checkpoint.archive import Archive, Legacy, damaged, open_legacy, open_zip
from reid_audit.checkpoint.globals import UNSUPPORTED, Kind, published
from reid_audit.checkpoint.header import read_header
from reid_audit.checkpoint.inert import InertUnpickler, StorageSpec
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import refuse_unsafe, scan
from reid_audit.checkpoint.sniff import SAVE, Container
from reid_audit.checkpoint.tensors import finish, materialise
from reid_audit.checkpoint.unwrap import PERSONAL, ROUNDED, personal, unwrap
from reid_audit.errors import AuditError, CheckpointError


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a file gave: tensors in order, what they were, and what lies beside them."""

    tensors: dict[str, Tensor]
    dtypes: dict[str, int]
    wrapper: str
    findings: tuple[str, ...]


def read_torch(file: BinaryIO, container: Container, size: int, limits: Limits) -> Read:
    """Read a torch.save file. Raises UnsafeCheckpointError or CheckpointError; MemoryError where a limit was hit."""
    if container is Container.PICKLE:
        _refuse_plain_pickle(file, limits)
    try:
        return _read_torch(file, container, size, limits)
    except (AuditError, MemoryError):
        raise
    except Exception as error:  # a hostile file can raise anything from inside pickle, zipfile and torch
        raise damaged("its parts contradict each other", f"{type(error).__name__}: {error}") from None


def _read_torch(file: BinaryIO, container: Container, size: int, limits: Limits) -> Read:
    source = open_zip(file, size, limits) if container is Container.ZIP else open_legacy(file, limits)
    refuse_unsafe(source.scan)
    document, mentioned = _document(file, source)
    found = unwrap(document)
    tensors = materialise(found.entries, source.storage, size, limits)
    replaced = tuple(f"replaced by an inert placeholder: {name}" for name in sorted({published(n) for n in mentioned}))
    if any(name.startswith("pathlib.") for name in mentioned):
        replaced = (PERSONAL, *replaced)
    return summarise(tensors, found.wrapper, tuple(dict.fromkeys((*found.findings, *replaced))))


def read_safetensors(file: BinaryIO, size: int, limits: Limits) -> Read:
    """Read a safetensors file whose header has been checked against its size. Raises CheckpointError."""
    header = read_header(file, size, limits)
    file.seek(0)
    try:
        tensors = safetensors.torch.load(file.read())
    except (safetensors.SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise damaged("safetensors cannot be read", str(error)) from None
    found = unwrap({key: tensors[key] for key in header.keys})
    leaks = (PERSONAL,) if personal(iter([*header.metadata, *header.metadata.values()])) else ()
    return summarise(materialise(found.entries, _no_storage, size, limits), "", (*found.findings, *leaks))


def _no_storage(_spec: StorageSpec) -> bytes:
    return b""


def summarise(tensors: dict[str, Tensor], wrapper: str, findings: tuple[str, ...]) -> Read:
    """Check the tensors' values and note their dtypes as the file had them."""
    dtypes: dict[str, int] = {}
    for tensor in tensors.values():
        name = str(tensor.dtype).removeprefix("torch.")
        dtypes[name] = dtypes.get(name, 0) + 1
    done, halves = finish(tensors)
    return Read(done, dtypes, wrapper, (*findings, ROUNDED) if halves else findings)


def _document(file: BinaryIO, source: Archive | Legacy) -> tuple[Any, tuple[str, ...]]:
    zipped = isinstance(source, Archive)
    plain = zipped and not source.scan.of(Kind.FOREIGN) and not any(name in UNSUPPORTED for name in source.scan.names)
    if plain:
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True), ()
        except Exception:  # torch raises many types here; the inert reader below gives the reasoned refusal
            file.seek(0)
    reader = InertUnpickler(io.BytesIO(source.programme))
    return reader.load(), tuple(reader.mentioned)


def _refuse_plain_pickle(file: BinaryIO, limits: Limits) -> None:
    refuse_unsafe(scan(file.read(limits.header_bytes)))
    raise CheckpointError(
        "this is a plain pickle, not a torch.save file",
        closest="torch.save files start with a zip header or torch's magic number",
        remedy=SAVE,
    )
