"""Parsing of torch files. Called in the child process; tests of single attacks call it directly."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from reid_audit.checkpoint.archive import Archive, Legacy, damaged, open_legacy, open_zip
from reid_audit.checkpoint.globals import UNSUPPORTED, Kind, published
from reid_audit.checkpoint.inert import InertUnpickler
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import refuse_unsafe, scan
from reid_audit.checkpoint.sniff import SAVE, Container
from reid_audit.checkpoint.tensors import finish, materialise
from reid_audit.checkpoint.unwrap import PERSONAL, ROUNDED, unwrap
from reid_audit.errors import AuditError, CheckpointError


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a file gave: tensors in order, what they were, and what lies beside them."""

    tensors: dict[str, Tensor]
    dtypes: dict[str, int]
    wrapper: str
    findings: tuple[str, ...]


def read_torch(file: BinaryIO, container: Container, size: int, limits: Limits) -> Read:
    """Read a torch.save file. Raises UnsafeCheckpointError or CheckpointError."""
    if container is Container.PICKLE:
        _refuse_plain_pickle(file, limits)
    source = open_zip(file, size, limits) if container is Container.ZIP else open_legacy(file, limits)
    refuse_unsafe(source.scan)
    document, mentioned = _document(file, source)
    try:
        found = unwrap(document)
        tensors = materialise(found.entries, source.storage, size, limits)
    except AuditError:
        raise
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise damaged("its tensors contradict themselves", str(error)) from None
    replaced = tuple(f"replaced by an inert placeholder: {name}" for name in sorted({published(n) for n in mentioned}))
    if any(name.startswith("pathlib.") for name in mentioned):
        replaced = (*((PERSONAL,) if PERSONAL not in found.findings else ()), *replaced)
    return summarise(tensors, found.wrapper, (*found.findings, *replaced))


def summarise(tensors: dict[str, Tensor], wrapper: str, findings: tuple[str, ...]) -> Read:
    """Check the tensors' values and note their dtypes as the file had them."""
    dtypes: dict[str, int] = {}
    for tensor in tensors.values():
        name = str(tensor.dtype).removeprefix("torch.")
        dtypes[name] = dtypes.get(name, 0) + 1
    done, halves = finish(tensors)
    return Read(done, dtypes, wrapper, (*findings, ROUNDED) if halves else findings)


def _document(file: BinaryIO, source: Archive | Legacy) -> tuple[Any, tuple[str, ...]]:
    plain = not source.scan.of(Kind.FOREIGN) and not any(name in UNSUPPORTED for name in source.scan.names)
    if plain:
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True), ()
        except Exception:  # torch raises many types here; the inert reader below gives the reasoned refusal
            file.seek(0)
    reader = InertUnpickler(io.BytesIO(source.programme))
    try:
        return reader.load(), tuple(reader.mentioned)
    except AuditError:
        raise
    except MemoryError:
        raise damaged("its pickle asks for more memory than the file can fill", "a memo bomb") from None
    except Exception as error:  # a hostile pickle can raise anything from inside the C unpickler
        raise damaged("its pickle cannot be read", f"{type(error).__name__}: {error}") from None


def _refuse_plain_pickle(file: BinaryIO, limits: Limits) -> None:
    refuse_unsafe(scan(file.read(limits.header_bytes)))
    raise CheckpointError(
        "this is a plain pickle, not a torch.save file",
        closest="torch.save files start with a zip header or torch's magic number",
        remedy=SAVE,
    )
