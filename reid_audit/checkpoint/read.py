"""A file's bytes -> Layout. Runs in the child process; tests of single attacks call it directly. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from reid_audit.checkpoint.archive import Archive, damaged, open_zip
from reid_audit.checkpoint.explain import refuse_adapters, refuse_other_objects, refuse_other_pickles
from reid_audit.checkpoint.findings import code_said, placeholders_said
from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.header import read_header
from reid_audit.checkpoint.hunt import attacks, beside, in_zip, nested, refuse_attacks
from reid_audit.checkpoint.layout import WIDTH, Buffer, Layout, Other, Place, is_half, lay_out, too_large
from reid_audit.checkpoint.legacy import Legacy, open_legacy
from reid_audit.checkpoint.limits import MIB, Limits
from reid_audit.checkpoint.opinion import second_opinion
from reid_audit.checkpoint.plain import Plain, open_plain
from reid_audit.checkpoint.reader import InertUnpickler
from reid_audit.checkpoint.scan import refuse_unsafe
from reid_audit.checkpoint.settle import settle
from reid_audit.checkpoint.sniff import Container
from reid_audit.checkpoint.unwrap import PERSONAL, ROUNDED, Part, Unwrapped, personal, unwrap
from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError

LOOKED_AT = 64 * MIB
"""Bytes of a refused file that are searched for attacks."""


def read_layout(
    file: BinaryIO, data: Buffer, container: Container, limits: Limits, pickled_code: PickledCode = "warn"
) -> Layout:
    """Parse a file and check its values. ``data`` is what ``file`` holds.

    ``pickled_code`` says what becomes of names in a pickle that are neither listed nor known to run something.
    Raises UnsafeCheckpointError or CheckpointError; MemoryError where a limit was hit.
    """
    try:
        layout = _parsed(file, data, container, limits, pickled_code)
        from reid_audit.checkpoint.values import check_values  # numpy takes longer to import than most files to refuse

        own = check_values(layout.entries, data)
        others = [_finite(other, data) for other in layout.others]
    except (UnsafeCheckpointError, MemoryError, ImportError):
        raise
    except AuditError:
        refuse_attacks(_hidden(data, container))
        raise
    except Exception as error:  # a hostile file can raise anything from inside pickle, json and zipfile
        refuse_attacks(_hidden(data, container))
        why = str(error) or type(error).__name__
        raise damaged("its parts contradict each other", f"the reader stopped: {why}") from None
    checked = replace(layout, entries=own.entries, others=tuple(other for other, _ in others))
    halves = (ROUNDED,) if any(is_half(entry.dtype) for entry in checked.every) else ()
    said = (*layout.findings, *halves, *own.findings, *(text for _, texts in others for text in texts))
    return replace(checked, findings=tuple(dict.fromkeys(said)))


def _hidden(data: Buffer, container: Container) -> dict[str, None]:
    """Attacks in a file that is refused anyway."""
    if container is Container.SAFETENSORS:
        return {}
    return in_zip(data) if container is Container.ZIP else attacks(bytes(data[:LOOKED_AT]))


def _parsed(file: BinaryIO, data: Buffer, container: Container, limits: Limits, pickled_code: PickledCode) -> Layout:
    if container is Container.SAFETENSORS:
        return _safetensors(data, limits)
    if container is Container.ZIP:
        return _pickled(open_zip(file, data, limits), data, limits, pickled_code)
    if container is Container.LEGACY:
        return _pickled(open_legacy(data, limits, pickled_code), data, limits, pickled_code)
    return _pickled(open_plain(data, limits), data, limits, pickled_code)


def _safetensors(data: Buffer, limits: Limits) -> Layout:
    header = read_header(data, limits)
    found = unwrap(header.tensors)
    refuse_adapters(found.entries)
    leaks = (PERSONAL,) if personal(iter([*header.metadata, *header.metadata.values()])) else ()
    return _placed(found, header.place, data, limits, leaks)


def _pickled(source: Archive | Legacy | Plain, data: Buffer, limits: Limits, pickled_code: PickledCode) -> Layout:
    found = source.scan
    refuse_unsafe(found, pickled_code)
    refuse_attacks(nested(found))
    if isinstance(source, Archive):
        refuse_attacks(beside(source.unread, data))
    opinion = second_opinion(found.programme)
    reader = InertUnpickler(found.programme, found.placed, pickled_code)
    loaded = reader.load()
    document = settle(loaded)
    if isinstance(source, Plain):
        refuse_other_pickles(found.names, loaded)
    refuse_other_objects(document)
    model = unwrap(document)
    refuse_adapters(model.entries)
    paths = (PERSONAL,) if any(name.startswith("pathlib.") for name in reader.mentioned) else ()
    said = (*paths, *placeholders_said(reader.mentioned), *code_said(reader.code), *opinion)
    return replace(_placed(model, source.place, data, limits, said), code=tuple(reader.code))


def _placed(found: Unwrapped, place: Place, data: Buffer, limits: Limits, more: tuple[str, ...]) -> Layout:
    """Places of every network's tensors. Only the first one's faults refuse the file; the others' are reported."""
    main, *others = found.parts
    entries = lay_out(main.entries, place, len(data), limits)
    laid = tuple(_other(part, place, data, limits) for part in others)
    said = (*found.findings, *more)
    layout = Layout(entries, found.wrapper, said, main.name, main.prefix, laid, found.beside, found.apart)
    if sum(max(entry.values * WIDTH[entry.dtype], entry.span) for entry in layout.every) > limits.unpacked(len(data)):
        raise too_large(len(data), limits)
    return layout


def _other(part: Part, place: Place, data: Buffer, limits: Limits) -> Other:
    try:
        return Other(part.name, lay_out(part.entries, place, len(data), limits), prefix=part.prefix)
    except CheckpointError as error:
        return Other(part.name, (), error.what)


def _finite(other: Other, data: Buffer) -> tuple[Other, tuple[str, ...]]:
    from reid_audit.checkpoint.values import check_values

    try:
        checked = check_values(other.entries, data)
    except CheckpointError as error:
        return Other(other.name, (), error.what), ()
    return replace(other, entries=checked.entries), checked.findings
