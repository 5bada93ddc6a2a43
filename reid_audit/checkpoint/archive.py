"""torch.save files as containers: the zip of today and the concatenated pickles of before 2020."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

from reid_audit.checkpoint.inert import InertUnpickler, StorageSpec
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.scan import Scan, scan
from reid_audit.checkpoint.sniff import SAVE
from reid_audit.errors import CheckpointError

WIDTH: dict[str, int] = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip
ZIP_KINDS: tuple[tuple[str, str, str], ...] = (
    (".npy", "a numpy archive (npz)", SAVE),
    ("metadata.json", "a Keras archive", SAVE),
    ("model.weights.h5", "a Keras archive", SAVE),
    ("archive_format", "a torch.export program", "save the state_dict of the original module"),
    ("serialized_exported_program.json", "a torch.export program", "save the state_dict of the original module"),
    ("AndroidManifest.xml", "an Android package", SAVE),
    ("[Content_Types].xml", "an Office document", SAVE),
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A torch zip that has been checked: its root folder and the pickle inside."""

    zip: zipfile.ZipFile
    root: str
    programme: bytes
    scan: Scan

    def storage(self, spec: StorageSpec) -> bytes:
        """Raw bytes of a storage."""
        try:
            return self.zip.read(f"{self.root}/data/{spec.key}")
        except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise damaged(f"storage {spec.key[:40]!r} cannot be read", str(error)) from None


def open_zip(file: BinaryIO, size: int, limits: Limits) -> Archive:
    """Check a zip and scan its pickle. Raises CheckpointError."""
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise damaged("the zip archive is incomplete", str(error)) from None
    _refuse_bombs(entries, size, limits)
    names = [entry.filename for entry in entries]
    _refuse_other_kinds(names)
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise CheckpointError(
            "the zip archive holds no torch checkpoint" if not roots else "the zip archive holds several checkpoints",
            closest=f"{len(names)} entries, data.pkl found {len(roots)} times",
            remedy=SAVE,
        )
    try:
        if archive.getinfo(f"{roots[0]}/data.pkl").file_size > limits.header_bytes:
            raise damaged("its pickle is too large", f"at most {limits.header_bytes} bytes are read")
        programme = archive.read(f"{roots[0]}/data.pkl")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise damaged("its pickle cannot be read", str(error)) from None
    return Archive(archive, roots[0], programme, scan(programme))


def _refuse_bombs(entries: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise damaged("a name occurs twice in the zip archive", "readers disagree on which entry counts")
    if any(name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") for name in names):
        raise damaged("an entry of the zip archive points outside of it", "torch.save never writes such names")
    if sum(entry.compress_size for entry in entries) > size:
        raise damaged("entries of the zip archive overlap", "they claim more bytes than the file has")
    if sum(entry.file_size for entry in entries) > limits.unpacked(size):
        raise damaged("the zip archive unpacks to far more than its size", "torch.save does not compress")
    if any(entry.flag_bits & 1 for entry in entries):
        raise damaged("the zip archive is encrypted", "torch.save does not encrypt")


def _refuse_other_kinds(names: list[str]) -> None:
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            "this is a TorchScript archive: code, not only weights",
            closest="a torch zip without code/ and constants.pkl is read",
            remedy="save the state_dict: torch.save(torch.jit.load(file).state_dict(), 'weights.pt')",
        )
    for suffix, kind, remedy in ZIP_KINDS:
        if any(name.endswith(suffix) for name in names):
            raise CheckpointError(f"this is {kind}", closest="recognised by the names inside", remedy=remedy)


@dataclass(frozen=True, slots=True)
class Legacy:
    """A legacy file: the pickle of the object, then its storages."""

    programme: bytes
    scan: Scan
    storages: dict[str, bytes]

    def storage(self, spec: StorageSpec) -> bytes:
        """Raw bytes of a storage."""
        if spec.key not in self.storages:
            raise damaged(f"storage {spec.key[:40]!r} is missing", f"{len(self.storages)} storages are there")
        return self.storages[spec.key]


def open_legacy(file: BinaryIO, limits: Limits) -> Legacy:
    """Scan the five pickles of a legacy file (magic, protocol, system, object, storage keys) and find its storages."""
    data = file.read()
    at, names, programmes = 0, dict[str, None](), list[bytes]()
    for _ in range(5):
        found = scan(data[at:] if len(programmes) in (3, 4) else data[at : at + 4096])
        programmes.append(data[at : at + found.length])
        names.update(dict.fromkeys(found.names))
        at += found.length
        if found.length > limits.header_bytes:
            raise damaged("its pickle is too large", f"at most {limits.header_bytes} bytes are read")
    keys = InertUnpickler(io.BytesIO(programmes[4])).load()
    if not isinstance(keys, list):
        raise damaged("its list of storages is not a list", f"it is a {type(keys).__name__}")
    scanned = Scan(tuple(names), len(programmes[3]))
    return Legacy(programmes[3], scanned, _storages(data, at, [str(k) for k in keys], programmes[3]))


def _storages(data: bytes, at: int, keys: list[str], programme: bytes) -> dict[str, bytes]:
    collector = _Collector(io.BytesIO(programme))
    collector.load()
    found = {}
    for key in keys:
        if key not in collector.dtypes or at + 8 > len(data):
            raise damaged(f"storage {key[:40]!r} is missing", "the file ends before it")
        count = struct.unpack_from("<q", data, at)[0]
        stop = at + 8 + count * WIDTH.get(collector.dtypes[key], 1)
        if count < 0 or stop > len(data):
            raise damaged(f"storage {key[:40]!r} is cut off", f"the file has {len(data)} bytes")
        found[key] = data[at + 8 : stop]
        at = stop
    return found


class _Collector(InertUnpickler):
    """Remembers the dtype of every storage it meets."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def persistent_load(self, pid: object, /) -> StorageSpec:
        spec = super().persistent_load(pid)
        self.dtypes[spec.key] = spec.dtype
        return spec


def damaged(what: str, closest: str) -> CheckpointError:
    """The refusal of a file that contradicts its own format."""
    return CheckpointError(f"the file is damaged: {what}", closest=closest[:160], remedy="download or save it again")
