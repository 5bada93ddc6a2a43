"""Somebody else's file: every refusal has its exit code and three lines, and nothing in a file ever runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reid_audit.checkpoint.limits import DEFAULT
from reid_audit.checkpoint.load import load_checkpoint
from reid_audit.checkpoint.read import Read, read_safetensors, read_torch
from reid_audit.checkpoint.sniff import HEAD_BYTES, Container, sniff
from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError


def parse(data: bytes) -> Read:
    """What the child process does, in this process."""
    container = sniff(data[:HEAD_BYTES], len(data))
    if container is Container.SAFETENSORS:
        return read_safetensors(io.BytesIO(data), len(data), DEFAULT)
    return read_torch(io.BytesIO(data), container, len(data), DEFAULT)


def refused(data: bytes, error: type[AuditError], phrase: str = "") -> None:
    with pytest.raises(error) as caught:
        parse(data)
    lines = caught.value.lines()
    assert caught.value.exit_code == (5 if error is UnsafeCheckpointError else 3)
    assert len(lines) == 3
    assert all(line.isprintable() and line for line in lines)
    assert phrase in caught.value.what


def saved(document: object, *, legacy: bool = False) -> bytes:
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


def tensors_file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.ones(2)}
MARK = Path("ran-code")

DANGEROUS = [
    "os.system", "posix.system", "nt.system", "subprocess.Popen", "subprocess.run", "builtins.eval", "builtins.exec",
    "builtins.__import__", "builtins.getattr", "builtins.open", "builtins.compile", "importlib.import_module",
    "pickle.loads", "_pickle.loads", "torch.load", "torch.hub.load", "torch.jit.load", "torch.storage._load_from_bytes",
    "shutil.rmtree", "webbrowser.open", "runpy.run_path", "numpy.load", "numpy.testing._private.utils.runstring",
    "operator.attrgetter", "functools.partial", "types.FunctionType", "types.CodeType", "socket.create_connection",
    "collections.OrderedDict.fromkeys", "pytorch_lightning.system", "torch.optim.system", "omegaconf.os.system",
    "unknown.package.Class", "my_project.models.Net", "torchvision.models.resnet.ResNet",
    "torch.nn.modules.conv.Conv2d",
    "__main__.Net", "__builtin__.eval", "copyreg.__newobj__", "copyreg.add_extension",
]  # fmt: skip


def by_global(name: str) -> bytes:
    module, _, leaf = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{leaf}\n".encode() + b"X\x08\x00\x00\x00ran-code\x85R."


def by_stack(name: str) -> bytes:
    module, _, leaf = name.rpartition(".")
    texts = b"".join(b"\x8c" + bytes([len(t)]) + t.encode() + b"\x94" for t in (module, leaf))
    return b"\x80\x04" + texts + b"\x93\x8c\x08ran-code\x85R."


def by_inst(name: str) -> bytes:
    module, _, leaf = name.rpartition(".")
    return b"(S'ran-code'\ni" + f"{module}\n{leaf}\n".encode() + b"."


def by_obj(name: str) -> bytes:
    module, _, leaf = name.rpartition(".")
    return b"\x80\x02(c" + f"{module}\n{leaf}\n".encode() + b"X\x08\x00\x00\x00ran-codeo."


@pytest.mark.parametrize("name", DANGEROUS)
@pytest.mark.parametrize("how", [by_global, by_stack, by_inst, by_obj], ids=["reduce", "stack", "inst", "obj"])
def test_a_dangerous_global_is_named_and_refused(name: str, how: Callable[[str], bytes]) -> None:
    refused(zipped(how(name)), UnsafeCheckpointError, name.rpartition(".")[2])


@pytest.mark.parametrize("name", DANGEROUS[:8])
def test_a_plain_pickle_with_code_is_refused_as_unsafe(name: str) -> None:
    refused(by_global(name), UnsafeCheckpointError, name)


class Bomb:
    """Creates a file when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(MARK),))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["top", "beside", "inside", "key"])
def test_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    documents = {
        "top": Bomb(),
        "beside": {"state_dict": STATE, "args": Bomb()},
        "inside": {**STATE, "w": Bomb()},
        "key": {"state_dict": STATE, Bomb(): 1},
    }
    refused(saved(documents[place], legacy=legacy), UnsafeCheckpointError, "mkdir")
    assert not MARK.exists()


MEMO_TRICK = (
    b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94h\x00h\x01\x93"
    b"\x8c\x04true\x85R."
)
COMPUTED_NAME = b"\x80\x04\x8c\x05posix\x8c\x06system\x86]\x94(0\x8c\x05posix\x8c\x06systemN0\x93)R."
EXTENSION = b"\x80\x02\x82\x01)R."
LATE = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01u0cposix\nsystem\nX\x04\x00\x00\x00true\x85R."


@pytest.mark.parametrize(
    "programme", [MEMO_TRICK, COMPUTED_NAME, EXTENSION, LATE], ids=["memo", "computed", "extension", "late"]
)
def test_hidden_globals(programme: bytes) -> None:
    refused(zipped(programme), UnsafeCheckpointError)


def test_a_nested_pickle_stays_bytes() -> None:
    read = parse(saved({"state_dict": STATE, "blob": by_global("os.system")}))
    assert list(read.tensors) == ["conv.weight", "head.bias"]


PROGRAMMES = {
    "nothing": b"",
    "no stop": b"\x80\x02}",
    "stack underflow": b"\x80\x02R.",
    "memo bomb": b"\x80\x02]r\xff\xff\xff\x7f.",
    "unknown opcode": b"\x80\x02\xff.",
    "huge string": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "protocol 9": b"\x80\x09}.",
    "unknown persistent id": b"\x80\x02X\x03\x00\x00\x00abcQ.",
    "build on a class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
    "change a placeholder": b"\x80\x02cargparse\nNamespace\nN}X\x01\x00\x00\x00aK\x01s\x86b.",
    "pop too much": b"\x80\x0200.",
    "a number": b"\x80\x02K\x01.",
    "none": b"\x80\x02N.",
    "a list": b"\x80\x02].",
    "an empty dict": b"\x80\x02}.",
    "a text": b"\x80\x02X\x01\x00\x00\x00a.",
    "itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
}


@pytest.mark.parametrize("programme", PROGRAMMES.values(), ids=list(PROGRAMMES))
def test_damaged_pickles(programme: bytes) -> None:
    refused(zipped(programme), CheckpointError)


def tensor_programme(shape: bytes, stride: bytes, offset: bytes = b"K\x00", key: bytes = b"0") -> bytes:
    """A dict with one tensor over a storage of two floats; the foreign class forces the inert reader."""
    return (
        b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X" + struct.pack("<I", len(key)) + key + b"X\x03\x00\x00\x00cpuK\x02tQ" + offset + shape + stride
        + b"\x89}tRX\x01\x00\x00\x00acargparse\nNamespace\n)\x81u."
    )  # fmt: skip


LYING = {
    "outside by shape": (b"K\x03\x85", b"K\x01\x85"),
    "outside by stride": (b"K\x02\x85", b"K\x09\x85"),
    "negative shape": (b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    "negative stride": (b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    "ranks differ": (b"K\x02\x85", b"K\x01K\x01\x86"),
    "shape of text": (b"X\x01\x00\x00\x00a\x85", b"K\x01\x85"),
    "expanded to terabytes": (b"J\xff\xff\xff\x7f\x85", b"K\x00\x85"),
    "outside by 2^62": (b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x3f\x85", b"K\x01\x85"),
}


@pytest.mark.parametrize(("shape", "stride"), LYING.values(), ids=list(LYING))
def test_tensors_that_lie_about_their_storage(shape: bytes, stride: bytes) -> None:
    refused(zipped(tensor_programme(shape, stride), {"archive/data/0": struct.pack("<2f", 1, 2)}), CheckpointError)


def test_the_same_tensor_without_a_lie_is_read() -> None:
    data = zipped(tensor_programme(b"K\x02\x85", b"K\x01\x85"), {"archive/data/0": struct.pack("<2f", 1, 2)})
    read = parse(data)
    assert read.tensors["w"].tolist() == [1.0, 2.0]
    assert "replaced by an inert placeholder: argparse.Namespace" in read.findings


@pytest.mark.parametrize("extra", [{}, {"archive/data/0": b"abc"}], ids=["missing storage", "broken length"])
def test_storages_that_are_not_there(extra: dict[str, bytes]) -> None:
    refused(zipped(tensor_programme(b"K\x02\x85", b"K\x01\x85"), extra), CheckpointError)


ZIPS: dict[str, tuple[dict[str, bytes], str]] = {
    "torchscript constants": ({"archive/constants.pkl": b"\x80\x02)."}, "TorchScript"),
    "torchscript code": ({"archive/code/__torch__.py": b"pass"}, "TorchScript"),
    "torch.export": ({"archive/archive_format": b"pt2"}, "torch.export"),
    "old torch.export": ({"serialized_exported_program.json": b"{}"}, "torch.export"),
    "keras": ({"model.weights.h5": b""}, "Keras"),
    "npz": ({"arr_0.npy": b"\x93NUMPY"}, "numpy"),
    "zip slip": ({"../../etc/cron.d/x": b"x"}, "outside"),
    "absolute": ({"/etc/passwd": b"x"}, "outside"),
    "two checkpoints": ({"other/data.pkl": b"\x80\x02}."}, "several"),
}


@pytest.mark.parametrize(("extra", "phrase"), ZIPS.values(), ids=list(ZIPS))
def test_other_zip_archives(extra: dict[str, bytes], phrase: str) -> None:
    refused(zipped(b"\x80\x02}.", extra), CheckpointError, phrase)


def test_duplicated_names() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", by_global("os.system"))
    refused(buffer.getvalue(), CheckpointError, "twice")


def test_zip_bomb() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(64 * 2**20))
    refused(buffer.getvalue(), CheckpointError, "unpacks")


def test_zip_without_a_checkpoint() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(buffer.getvalue(), CheckpointError, "no torch checkpoint")


OTHER = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is a readme\n", "text"),
    "utf-8 text": ("grüße\n".encode() * 100, "text"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "html late": (b"\n\n <html lang=en>", "web page"),
    "xml": (b"<?xml version='1.0'?>", "web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
    "sharded": (b'{"metadata": {}, "weight_map": {"a": "model-00001.safetensors"}}', "sharded"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "npy": (b"\x93NUMPY\x01\0" + bytes(64), "numpy"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0\0" * 8, "TensorFlow Lite"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0" + bytes(8), "ONNX"),
    "saved model": (b"\x08\x01\x12\x90\x01\n\x10tensorflow serve", "TensorFlow"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "gzip"),
    "bzip2": (b"BZh91AY" + bytes(20), "bzip2"),
    "xz": (b"\xfd7zXZ\0" + bytes(20), "xz"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
    "tar": (bytes(257) + b"ustar" + bytes(20), "tar"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "image"),
    "dicom": (bytes(128) + b"DICM" + bytes(20), "DICOM"),
    "elf": (b"\x7fELF" + bytes(20), "program"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "empty zip"),
    "noise": (random.Random(0).randbytes(500), "no known format"),
    "zeros": (bytes(500), "no known format"),
    "plain pickle": (pickle.dumps({"a": 1}), "plain pickle"),
    "plain pickle, protocol 0": (pickle.dumps([1], 0), "pickle"),
}


@pytest.mark.parametrize(("data", "phrase"), OTHER.values(), ids=list(OTHER))
def test_other_formats_are_named(data: bytes, phrase: str) -> None:
    refused(data, CheckpointError, phrase)


F = "F32"
HEADERS: dict[str, bytes] = {
    "length 2^63": tensors_file({}, length=2**63),
    "length 2^64 - 1": tensors_file({}, length=2**64 - 1),
    "length beyond the file": tensors_file({}, length=1000),
    "length 100 MB": tensors_file({}, bytes(10), length=100_000_000),
    "not json": tensors_file(b"{" + b"x" * 20),
    "not utf-8": tensors_file(b'{"\xff\xfe": 1}'),
    "deep json": tensors_file(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "duplicate keys": tensors_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "overlap": tensors_file(
        {
            "a": {"dtype": F, "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": F, "shape": [2], "data_offsets": [4, 12]},
        },
        bytes(12),
    ),
    "gap": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    "bytes left over": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
    "negative offset": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)),
    "negative shape": tensors_file({"a": {"dtype": F, "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
    "shape 2^63": tensors_file({"a": {"dtype": F, "shape": [2**63], "data_offsets": [0, 4]}}, bytes(4)),
    "shape product 2^64": tensors_file({"a": {"dtype": F, "shape": [2**32, 2**32], "data_offsets": [0, 0]}}),
    "wrong size": tensors_file({"a": {"dtype": F, "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    "offsets reversed": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [4, 0]}}, bytes(4)),
    "one offset": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [4]}}, bytes(4)),
    "offsets of text": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": ["0", "4"]}}, bytes(4)),
    "boolean shape": tensors_file({"a": {"dtype": F, "shape": [True], "data_offsets": [0, 4]}}, bytes(4)),
    "fractional shape": tensors_file({"a": {"dtype": F, "shape": [1.0], "data_offsets": [0, 4]}}, bytes(4)),
    "unknown dtype": tensors_file({"a": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "dtype of a list": tensors_file({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "no shape": tensors_file({"a": {"dtype": F, "data_offsets": [0, 4]}}, bytes(4)),
    "an extra field": tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [0, 4], "x": 1}}, bytes(4)),
    "entry is a number": tensors_file({"a": 1}),
    "metadata of numbers": tensors_file({"__metadata__": {"a": 1}}),
    "metadata is a list": tensors_file({"__metadata__": []}),
    "no tensors": tensors_file({}),
    "integers only": tensors_file({"a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "NaN": tensors_file(
        {"a": {"dtype": F, "shape": [1], "data_offsets": [0, 4]}}, struct.pack("<f", float("nan"))
    ),
    "control characters": tensors_file({"a\x1b[31m": {"dtype": F, "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "newline in a name": tensors_file({"a\nPASS": {"dtype": F, "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("data", HEADERS.values(), ids=list(HEADERS))
def test_safetensors_headers_that_lie(data: bytes) -> None:
    refused(data, CheckpointError)


def test_an_honest_header_is_read() -> None:
    data = tensors_file({"a": {"dtype": F, "shape": [1], "data_offsets": [0, 4]}}, struct.pack("<f", 2.0))
    assert parse(data).tensors["a"].item() == 2.0


def _sparse() -> dict[str, torch.Tensor]:
    return {"a": torch.eye(3).to_sparse(), "b": torch.ones(1)}


CONTENTS: dict[str, tuple[Callable[[], object], str]] = {
    "a list": (lambda: [torch.ones(2)], "list"),
    "a tuple": (lambda: (torch.ones(2), {}), "tuple"),
    "a tensor": (lambda: torch.ones(2), "single tensor"),
    "empty": (dict, "empty"),
    "no tensors": (lambda: {"epoch": 3, "lr": 0.1}, "without tensors"),
    "integers": (lambda: {"a": torch.arange(3)}, "no floating-point"),
    "zero size only": (lambda: {"a": torch.empty(0)}, "no floating-point"),
    "NaN": (lambda: {"a": torch.tensor([1.0, float("nan")])}, "NaN"),
    "infinity": (lambda: {"a": torch.tensor([float("inf")])}, "infinity"),
    "half NaN": (lambda: {"a": torch.tensor([float("nan")]).half()}, "NaN"),
    "complex": (lambda: {"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
    "sparse": (_sparse, "sparse"),
    "meta": (lambda: {"a": torch.ones(2, device="meta")}, "meta"),
    "control characters": (lambda: {"a\x07": torch.ones(2)}, "control"),
    "right-to-left override": (lambda: {"a\u202e": torch.ones(2)}, "control"),
    "overlong name": (lambda: {"a" * 501: torch.ones(2)}, "overlong"),
    "expanded": (lambda: {"a": torch.ones(1).expand(2**33)}, "unpack"),
}


@pytest.mark.parametrize(("make", "phrase"), CONTENTS.values(), ids=list(CONTENTS))
def test_contents_that_are_no_model(make: Callable[[], object], phrase: str) -> None:
    refused(saved(make()), CheckpointError, phrase)


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights() -> None:
    refused(saved({"a": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}), CheckpointError, "quantised")


SAMPLES = {"zip": saved(STATE), "legacy": saved(STATE, legacy=True), "nested": saved({"state_dict": STATE, "epoch": 3})}


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
def test_truncation(kind: str, share: float) -> None:
    data = SAMPLES[kind]
    with pytest.raises(AuditError):
        parse(data[: max(1, int(len(data) * share))])


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("seed", range(8))
def test_bit_flips_are_read_or_refused(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        data = bytearray(SAMPLES[kind])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            read = parse(bytes(data))
        except AuditError:
            continue
        assert all(bool(torch.isfinite(t).all()) for t in read.tensors.values() if t.is_floating_point())


def test_file_kinds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "near.pt").write_bytes(b"")
    for name in (".", "fifo", "loop", "missing.pt", "missing/deeper.pt", "nul\0byte"):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(tmp_path / name)
        assert len(caught.value.lines()) == 3
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "missing.pt")
    assert "near.pt" in caught.value.closest


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(SAMPLES["zip"])
    (tmp_path / "a.pt").chmod(0)
    with pytest.raises(CheckpointError, match="cannot be opened"):
        load_checkpoint(tmp_path / "a.pt")
