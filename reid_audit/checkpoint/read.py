"""A file's bytes -> Layout. Runs in the child process; tests of single attacks call it directly. Needs no torch."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, BinaryIO

from reid_audit.checkpoint.archive import damaged, open_zip
from reid_audit.checkpoint.globals import published
from reid_audit.checkpoint.header import read_header
from reid_audit.checkpoint.inert import InertUnpickler
from reid_audit.checkpoint.layout import WIDTH, Buffer, Layout, Other, Place, is_half, lay_out, too_large
from reid_audit.checkpoint.legacy import open_legacy
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.opinion import second_opinion
from reid_audit.checkpoint.scan import refuse_unsafe, scan
from reid_audit.checkpoint.sniff import SAVE, Container
from reid_audit.checkpoint.unwrap import PERSONAL, ROUNDED, Unwrapped, personal, unwrap
from reid_audit.errors import AuditError, CheckpointError


def read_layout(file: BinaryIO, data: Buffer, container: Container, limits: Limits) -> Layout:
    """Parse a file and check its values. ``data`` is what ``file`` holds.

    Raises UnsafeCheckpointError or CheckpointError; MemoryError where a limit was hit.
    """
    try:
        layout = _parsed(file, data, container, limits)
        from reid_audit.checkpoint.values import check_values  # numpy takes longer to import than most files to refuse

        check_values(layout.entries, data)
        layout = replace(layout, others=tuple(_finite(other, data) for other in layout.others))
    except (AuditError, MemoryError, ImportError):
        raise
    except Exception as error:  # a hostile file can raise anything from inside pickle, json and zipfile
        raise damaged("its parts contradict each other", f"{type(error).__name__}: {error}") from None
    halves = (ROUNDED,) if any(is_half(entry.dtype) for entry in layout.every) else ()
    return replace(layout, findings=tuple(dict.fromkeys((*layout.findings, *halves))))


def _parsed(file: BinaryIO, data: Buffer, container: Container, limits: Limits) -> Layout:
    if container is Container.SAFETENSORS:
        return _safetensors(data, limits)
    if container is Container.PICKLE:
        refuse_unsafe(scan(bytes(data[: limits.header_bytes]), limits.opcodes))
        raise CheckpointError(
            "this is a plain pickle, not a torch.save file",
            closest="torch.save files start with a zip header or torch's magic number",
            remedy=SAVE,
        )
    return _torch(file, data, container, limits)


def _safetensors(data: Buffer, limits: Limits) -> Layout:
    header = read_header(data, limits)
    found = unwrap(header.tensors)
    leaks = (PERSONAL,) if personal(iter([*header.metadata, *header.metadata.values()])) else ()
    return _placed(found, header.place, data, limits, leaks)


def _torch(file: BinaryIO, data: Buffer, container: Container, limits: Limits) -> Layout:
    source = open_zip(file, data, limits) if container is Container.ZIP else open_legacy(data, limits)
    refuse_unsafe(source.scan)
    opinion = second_opinion(source.programme)
    reader = InertUnpickler(io.BytesIO(source.programme))
    found = unwrap(reader.load())
    replaced = sorted({f"replaced by an inert placeholder: {published(name)}" for name in reader.mentioned})
    paths = (PERSONAL,) if any(name.startswith("pathlib.") for name in reader.mentioned) else ()
    return _placed(found, source.place, data, limits, (*paths, *replaced, *opinion))


def _placed(found: Unwrapped, place: Place, data: Buffer, limits: Limits, more: tuple[str, ...]) -> Layout:
    """Places of every network's tensors. Only the first one's faults refuse the file; the others' are told."""
    main, *others = found.parts
    entries = lay_out(main.entries, place, len(data), limits)
    laid = [_other(part.name, part.entries, place, data, limits) for part in others]
    layout = Layout(entries, found.wrapper, (*found.findings, *more), main.name, tuple(laid), found.beside)
    if sum(max(entry.values * WIDTH[entry.dtype], entry.span) for entry in layout.every) > limits.unpacked(len(data)):
        raise too_large(len(data), limits)
    return layout


def _other(name: str, described: dict[str, Any], place: Place, data: Buffer, limits: Limits) -> Other:
    try:
        return Other(name, lay_out(described, place, len(data), limits))
    except CheckpointError as error:
        return Other(name, (), error.what)


def _finite(other: Other, data: Buffer) -> Other:
    from reid_audit.checkpoint.values import check_values

    try:
        check_values(other.entries, data)
    except CheckpointError as error:
        return Other(other.name, (), error.what)
    return other
