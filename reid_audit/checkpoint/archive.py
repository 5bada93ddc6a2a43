"""The zip that torch.save writes: entries checked against the file before anything in them is believed."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from reid_audit.checkpoint.formats import SAVE
from reid_audit.checkpoint.inert import StorageSpec
from reid_audit.checkpoint.layout import Buffer
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import Scan, refuse_unsafe, scan
from reid_audit.checkpoint.zipkinds import refuse_other_kinds
from reid_audit.errors import CheckpointError

LOCAL = struct.Struct("<4s5H3L2H")
UTF8_NAME, ENCRYPTED = 0x800, 0x1


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """A torch zip that has been checked: its root folder and the pickle inside."""

    data: Buffer
    root: str
    spans: dict[str, tuple[int, int, int]]
    """Name of an entry -> first byte, byte behind the last, CRC-32 (0: not computed)."""
    scan: Scan
    sound: set[str] = field(default_factory=set)

    @property
    def unread(self) -> tuple[tuple[int, int], ...]:
        """Places of the entries that hold neither the pickle nor a storage."""
        read = (f"{self.root}/data.pkl", f"{self.root}/data/")
        return tuple((start, stop) for name, (start, stop, _) in self.spans.items() if not name.startswith(read))

    def place(self, spec: StorageSpec) -> tuple[int, int]:
        """Where a storage's bytes are. Raises CheckpointError where it is missing or its checksum is wrong."""
        name = f"{self.root}/data/{spec.key}"
        if name not in self.spans:
            raise damaged(f"storage {spec.key[:40]!r} cannot be read", "the zip archive has no such entry")
        start, stop, checksum = self.spans[name]
        if checksum and name not in self.sound:
            if _crc(self.data, start, stop) != checksum:
                raise damaged(f"storage {spec.key[:40]!r} cannot be read", "its bytes do not match their checksum")
            self.sound.add(name)
        return start, stop


def open_zip(file: BinaryIO, data: Buffer, limits: Limits) -> Archive:
    """Check a zip and scan its pickle. ``data`` is what ``file`` holds. Raises CheckpointError."""
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise damaged("the zip archive is incomplete", str(error)) from None
    if len(entries) > limits.zip_entries:
        raise damaged(f"the zip archive has {len(entries)} entries", f"at most {limits.zip_entries} are read")
    names = [entry.filename for entry in entries]
    _refuse_names(entries, names)
    _refuse_bombs(entries, len(data), limits)
    refuse_other_kinds(names)
    spans = _spans(entries, data)
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise CheckpointError(
            "the zip archive holds no torch checkpoint" if not roots else "the zip archive holds several checkpoints",
            closest=f"{len(names)} entries, data.pkl found {len(roots)} times",
            remedy=SAVE,
        )
    _refuse_byte_order(data, spans.get(f"{roots[0]}/byteorder"))
    found = _pickle(data, spans[f"{roots[0]}/data.pkl"], limits)
    return Archive(data, roots[0], spans, found)


def _refuse_names(entries: list[zipfile.ZipInfo], names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise damaged("a name occurs twice in the zip archive", "readers disagree on which entry counts")
    if any(name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") for name in names):
        raise damaged("an entry of the zip archive points outside of it", "torch.save never writes such names")
    if any("\0" in entry.orig_filename for entry in entries):
        raise damaged("a name in the zip archive holds a zero byte", "readers disagree on where it ends")
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise damaged("an entry of the zip archive is a link", "torch.save never writes links")
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise damaged("the zip archive is encrypted", "torch.save does not encrypt")


def _refuse_bombs(entries: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    if sum(entry.compress_size for entry in entries) > size:
        raise damaged("entries of the zip archive overlap", "they claim more bytes than the file has")
    if sum(entry.file_size for entry in entries) > limits.unpacked(size):
        raise damaged("the zip archive unpacks to far more than its size", "torch.save does not compress")


def _spans(entries: list[zipfile.ZipInfo], data: Buffer) -> dict[str, tuple[int, int, int]]:
    """Where each entry's bytes are: the index at the end and the headers inside must tell the same."""
    found = {}
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        at = entry.header_offset
        if at < end or at + LOCAL.size > len(data):
            raise damaged("entries of the zip archive overlap", f"one starts at byte {at}")
        magic, _, flags, method, *_, name_bytes, extra_bytes = LOCAL.unpack_from(data, at)
        start = at + LOCAL.size + name_bytes + extra_bytes
        name = bytes(data[at + LOCAL.size : at + LOCAL.size + name_bytes])
        wanted = entry.orig_filename.encode("utf-8" if entry.flag_bits & UTF8_NAME else "cp437")
        if magic != b"PK\x03\x04" or name != wanted or (flags ^ entry.flag_bits) & ENCRYPTED:
            raise damaged("the zip archive's index and its entries differ", "readers disagree on what is inside")
        if entry.compress_type != zipfile.ZIP_STORED or method != zipfile.ZIP_STORED:
            raise damaged("the zip archive is compressed", "torch.save does not compress")
        end = start + entry.file_size
        if entry.compress_size != entry.file_size or end > len(data):
            raise damaged("the zip archive is incomplete", "an entry ends outside the file")
        found[entry.filename] = (start, end, entry.CRC)
    return found


def _refuse_byte_order(data: Buffer, span: tuple[int, int, int] | None) -> None:
    order = b"little" if span is None else bytes(data[span[0] : min(span[1], span[0] + 16)])
    if order != b"little":
        raise CheckpointError(
            "the file was written on a machine with another byte order",
            closest="little-endian files are read",
            remedy="load and save it again on a little-endian machine",
        )


def _pickle(data: Buffer, span: tuple[int, int, int], limits: Limits) -> Scan:
    start, stop, checksum = span
    if checksum and _crc(data, start, stop) != checksum:
        raise damaged("its pickle cannot be read", "its bytes do not match their checksum")
    found = scan(data, limits.opcodes, start=start, stop=stop, size=limits.header_bytes)
    if found.length < stop - start:
        refuse_unsafe(found, "refuse")
        left = stop - start - found.length
        rest = scan(data, limits.opcodes, start=start + found.length, stop=stop, size=limits.header_bytes)
        refuse_unsafe(rest, "refuse")
        raise damaged("its pickle goes on after its end", f"{left} bytes too many")
    return found


def _crc(data: Buffer, start: int, stop: int) -> int:
    with memoryview(data) as whole, whole[start:stop] as part:
        return zlib.crc32(part)


def damaged(what: str, closest: str) -> CheckpointError:
    """The refusal of a file that contradicts its own format."""
    return CheckpointError(f"the file is damaged: {what}", closest=closest[:160], remedy="download or save it again")
