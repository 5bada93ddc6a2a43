"""What a file is, by its first bytes. The suffix is never believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from reid_audit.errors import CheckpointError

HEAD_BYTES = 4096
LEGACY_MAGIC = re.compile(
    rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0a" + re.escape(b"l\xfc\x9cF\xf9 j\xa8P\x19") + rb"\.", re.DOTALL
)
"""torch's magic number, pickled by any protocol."""
SAVE = "save the weights with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"

MERGE = (
    'python -c "import glob, safetensors.torch as s; s.save_file({k: v for f in '
    "glob.glob('*-of-*.safetensors') for k, v in s.load_file(f).items()}, 'merged.safetensors')\""
)
"""One command that makes one file of a sharded checkpoint."""


class Container(StrEnum):
    """Formats that are read."""

    SAFETENSORS = "safetensors"
    ZIP = "torch-zip"
    LEGACY = "torch-legacy"
    PICKLE = "pickle"
    """A pickle without torch's magic number: scanned so that an attack is named, never read."""


@dataclass(frozen=True, slots=True)
class _Foreign:
    pattern: re.Pattern[bytes]
    name: str
    remedy: str = SAVE


def _foreign(pattern: bytes, name: str, remedy: str = SAVE) -> _Foreign:
    return _Foreign(re.compile(pattern, re.DOTALL | re.IGNORECASE), name, remedy)


FOREIGN: tuple[_Foreign, ...] = (
    _foreign(rb"GGUF", "a GGUF file (a language model)"),
    _foreign(rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or MATLAB)"),
    _foreign(rb"\x93NUMPY", "a numpy array"),
    _foreign(rb".{4}TFL3", "a TensorFlow Lite model"),
    _foreign(rb"\x08[\x01-\x14]\x12.{0,512}(pytorch|onnx|tf2onnx|skl2onnx)", "an ONNX model"),
    _foreign(rb"\x08[\x01-\x14].{0,4096}(onnx|main_graph|torch_jit)", "an ONNX model"),
    _foreign(rb"\x08\x01\x12.{0,4096}(tensorflow|saved_model|serve|producer)", "a TensorFlow SavedModel"),
    _foreign(rb"\x0a.{0,4096}(Placeholder|tensorflow)", "a TensorFlow graph"),
    _foreign(rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    _foreign(
        rb"\s*(<!doctype html|<html|<head|<\?xml)", "a web page", "download the file itself, not the page about it"
    ),
    _foreign(rb"\s*\{.*\"weight_map\"", "the index of a sharded checkpoint", f"in its folder run {MERGE}"),
    _foreign(rb"\x1f\x8b", "a gzip archive", "unpack it first"),
    _foreign(rb"BZh", "a bzip2 archive", "unpack it first"),
    _foreign(rb"\xfd7zXZ", "an xz archive", "unpack it first"),
    _foreign(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    _foreign(rb"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    _foreign(rb".{257}ustar", "a tar archive", "unpack it first"),
    _foreign(rb"\x89PNG|\xff\xd8\xff", "an image", "give the checkpoint; images belong to --reference or --holdout"),
    _foreign(rb".{128}DICM", "a DICOM film", "give the checkpoint; images belong to --reference or --holdout"),
    _foreign(rb"\x7fELF|MZ|\xcf\xfa\xed\xfe", "a program"),
    _foreign(rb"PK\x05\x06", "an empty zip archive"),
)


def sniff(head: bytes, size: int) -> Container:
    """Container of a file from its first ``HEAD_BYTES`` bytes and its size.

    Raises CheckpointError for everything that is not read, naming what it seems to be.
    """
    if size == 0:
        raise CheckpointError(
            "the file is empty", closest="nothing to compare with", remedy="download or save it again"
        )
    if head.startswith(b"PK\x03\x04"):
        return Container.ZIP
    if LEGACY_MAGIC.match(head):
        return Container.LEGACY
    if len(head) >= 9 and head[8:9] == b"{":
        return Container.SAFETENSORS
    for foreign in FOREIGN:
        if foreign.pattern.match(head):
            raise CheckpointError(
                f"this is {foreign.name}", closest="recognised by its first bytes", remedy=foreign.remedy
            )
    if head[:1] == b"\x80" and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        return Container.PICKLE
    if _looks_like_pickle_zero(head):
        return Container.PICKLE
    kind = "text" if _is_text(head) else "of no known format"
    raise CheckpointError(
        f"the file is {kind}, not a checkpoint",
        closest="read are safetensors and torch.save files (zip or legacy)",
        remedy=SAVE,
    )


def _looks_like_pickle_zero(head: bytes) -> bool:
    """Protocol 0 has no magic: a global or a mark first, a STOP somewhere."""
    return bool(re.match(rb"(c[\w.]+\n[\w.]+\n|\(|\]|\}|I\d|S'|V\w)", head)) and b"." in head and head[:2] != b"{\n"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and b"\0" not in head
    return b"\0" not in head
