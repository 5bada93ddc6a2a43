"""Binary formats that are not read, by their first bytes; each with what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

SAVE = "save the weights with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
ORIGIN = "give the PyTorch checkpoint it was made from"
UNPACK = "unpack it first"
FILMS = "give the checkpoint; images belong to --reference or --holdout"
OTHER = "give the checkpoint of a PyTorch network"


@dataclass(frozen=True, slots=True)
class Foreign:
    """One format."""

    pattern: re.Pattern[bytes]
    name: str
    remedy: str


def _foreign(pattern: bytes, name: str, remedy: str = SAVE) -> Foreign:
    return Foreign(re.compile(pattern, re.DOTALL), name, remedy)


VARINT = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
"""A length in protocol buffers."""
FOREIGN: tuple[Foreign, ...] = (
    _foreign(rb"GGUF", "a GGUF file (a language model)", ORIGIN),
    _foreign(rb"MATLAB ", "a MATLAB file", OTHER),
    _foreign(rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or MATLAB)", OTHER),
    _foreign(
        rb"\x93NUMPY",
        "a numpy array",
        "save the whole network: torch.save({name: array, ...}, 'weights.pt') is read, too",
    ),
    _foreign(rb".{4}TFL3", "a TensorFlow Lite model", ORIGIN),
    _foreign(rb".{4}ET\d\d", "an ExecuTorch program", ORIGIN),
    _foreign(rb"\x08[\x01-\x14]\x12.{0,512}(pytorch|onnx|tf2onnx|skl2onnx)", "an ONNX model", ORIGIN),
    _foreign(rb"\x08[\x03-\x14]\x12[\x01-\x7f][ -~]{1,127}\x1a[\x01-\x20]\d", "an ONNX model", ORIGIN),
    _foreign(rb"\x08[\x01-\x14].{0,4096}(onnx|main_graph|torch_jit)", "an ONNX model", ORIGIN),
    _foreign(rb"\x08\x01\x12" + VARINT + rb"\x0a" + VARINT, "a TensorFlow SavedModel", OTHER),
    _foreign(rb"\x08\x01\x12.{0,4096}(tensorflow|saved_model|serve|producer)", "a TensorFlow SavedModel", OTHER),
    _foreign(rb"\x08[\x02-\x0c]\x12" + VARINT + rb"\x0a" + VARINT + rb"\x0a", "a Core ML model", ORIGIN),
    _foreign(rb"\x0a" + VARINT + rb"\x0a[\x01-\x7f][\w/.:-]+\x12[\x01-\x40][A-Z]\w", "a TensorFlow graph", OTHER),
    _foreign(rb"\x0a[^\n ].{0,4096}(Placeholder|tensorflow)", "a TensorFlow graph", OTHER),
    _foreign(rb"ptrt", "a TensorRT engine", ORIGIN),
    _foreign(rb"[\x80-\x8f\xde].{0,8}(params|batch_stats|opt_state)", "a checkpoint of Flax", OTHER),
    _foreign(rb"\x1f\x8b", "a gzip archive", UNPACK),
    _foreign(rb"BZh", "a bzip2 archive", UNPACK),
    _foreign(rb"\xfd7zXZ", "an xz archive", UNPACK),
    _foreign(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    _foreign(rb"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    _foreign(rb"Rar!", "a rar archive", UNPACK),
    _foreign(
        rb"sys_info\x00.{248}ustar|tensors\x00.{249}ustar|pickle\x00.{250}ustar",
        "a torch.save file of 2016 (tar)",
        "save it again: torch.save(torch.load(file, weights_only=True), 'weights.pt')",
    ),
    _foreign(rb".{257}ustar", "a tar archive", UNPACK),
    _foreign(rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\x00|MM\x00\*|RIFF.{4}WEBP|BM.{4}\x00\x00\x00\x00", "an image", FILMS),
    _foreign(rb".{128}DICM", "a DICOM film", FILMS),
    _foreign(rb".{344}n[i+]1\x00", "a NIfTI volume", FILMS),
    _foreign(rb"NRRD", "an NRRD volume", FILMS),
    _foreign(rb"\x7fELF|MZ|\xcf\xfa\xed\xfe", "a program", OTHER),
    _foreign(rb"%PDF", "a PDF document", OTHER),
    _foreign(rb"SQLite format 3", "an SQLite database", OTHER),
    _foreign(rb"PAR1", "a Parquet table", OTHER),
    _foreign(rb"PK\x05\x06", "an empty zip archive", "download or save it again"),
)
