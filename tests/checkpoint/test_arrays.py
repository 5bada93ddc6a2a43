"""numpy arrays written into a checkpoint's pickle are read as tensors: the same values, whatever wrote them."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus_base import parse, saved, zipped
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_load import STATE, read, same

from reid_audit.checkpoint import load_checkpoint
from reid_audit.checkpoint.arrays import KINDS
from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError


def variety() -> dict[str, Any]:
    chance = np.random.default_rng(0)
    return {
        "long": chance.normal(size=(40, 50)).astype(np.float32),
        "short": np.arange(6, dtype=np.float64).reshape(2, 3),
        "column by column": np.asfortranarray(chance.normal(size=(30, 20, 2)).astype(np.float32)),
        "turned": chance.normal(size=(30, 40)).astype(np.float32).T,
        "every second": np.arange(600, dtype=np.float32)[::2],
        "half": np.ones(700, np.float16),
        "bytes": np.arange(2000, dtype=np.uint8),
        "signed": np.arange(-1000, 1000, dtype=np.int16),
        "flags": np.array([True, False] * 600),
        "empty": np.ones((0, 3), np.float32),
        "number": np.float32(2.5),
        "count": np.int64(-7),
        "of no axes": np.array(3.5),
        "a tensor": torch.arange(4.0),
    }


def as_torch(value: Any) -> torch.Tensor:
    found = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    return found.float() if found.dtype is torch.float16 else found


def saved_by(document: Any, protocol: int, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(document, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def of_numpy_1(data: bytes) -> bytes:
    """The same checkpoint, written by a release of numpy before 2."""
    programme = zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")
    assert b"numpy._core.multiarray" in programme
    floats = {f"archive/data/{i}": torch.arange(4.0).numpy().tobytes() for i in range(1)}
    return zipped(programme.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"), floats)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_tensors(protocol: int, legacy: bool) -> None:
    document = variety()
    found = read(saved_by({"state_dict": document}, protocol, legacy=legacy))
    assert list(found.tensors) == list(document)
    for key, value in document.items():
        wanted = as_torch(value)
        assert found.tensors[key].dtype is wanted.dtype, key
        assert torch.equal(found.tensors[key], wanted), key
        assert found.tensors[key].is_contiguous()
    assert not any("placeholder" in finding for finding in found.findings)


def test_arrays_of_older_releases() -> None:
    found = read(of_numpy_1(saved_by(variety(), 2)))
    assert all(torch.equal(found.tensors[key], as_torch(value)) for key, value in variety().items())


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_plain_pickle_of_arrays_is_read(protocol: int) -> None:
    document = {key: value for key, value in variety().items() if not isinstance(value, torch.Tensor)}
    found = read(pickle.dumps({"model": document, "__author__": "somebody", "matching": True}, protocol))
    assert found.layout.wrapper == "model"
    assert all(torch.equal(found.tensors[key], as_torch(value)) for key, value in document.items())


ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["<f4", "<f8", "<f2", "i1", "<i2", "<i4", "<i8", "u1", "?"]),
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=12),
    elements=st.just(1) | st.just(0),
)


@settings(max_examples=60, deadline=None)
@given(array=ARRAYS, protocol=st.integers(2, 5), turned=st.booleans())
def test_any_array_survives(array: np.ndarray, protocol: int, turned: bool) -> None:
    value = array.T if turned else array
    found = read(saved_by({"w": value, "more": np.ones(2, np.float32)}, protocol))
    assert torch.equal(found.tensors["w"], as_torch(value))


def test_a_network_of_arrays_larger_than_a_pickle_may_be(tmp_path: Path) -> None:
    weights = {f"layer{i}.weight": np.full((1024, 1024), i + 0.5, np.float32) for i in range(10)}
    torch.save({"state_dict": weights}, tmp_path / "arrays.pt")
    assert (tmp_path / "arrays.pt").stat().st_size > 2**25
    found = load_checkpoint(tmp_path / "arrays.pt")
    assert found.summary.parameters == 10 * 2**20
    assert all(torch.equal(found.tensors[key], torch.from_numpy(value)) for key, value in weights.items())


def test_numbers_beside_a_network_are_no_network() -> None:
    document = {"best": np.float64(0.5), "epoch": np.int64(3), "mine": STATE}
    assert same(read(saved(document)))


def test_texts_and_objects_are_no_tensors() -> None:
    from reid_audit.checkpoint.unwrap import PERSONAL

    document = {"state_dict": STATE, "ids": np.array(["/data/patient_1.dcm", "b"]), "any": np.array([1, "a"], object)}
    found = read(saved(document))
    assert same(found)
    assert PERSONAL in found.findings
    assert same(read(saved({"state_dict": STATE, "ids": np.array(["a" * 400] * 400)})))


@pytest.mark.parametrize("dtype", [">f4", ">i8"])
def test_another_byte_order_is_refused(dtype: str) -> None:
    with pytest.raises(CheckpointError, match="byte order"):
        parse(saved({"w": np.ones(3, dtype)}))


def test_values_are_checked() -> None:
    for size in (3, 3000):
        with pytest.raises(CheckpointError, match="NaN"):
            parse(saved({"w": np.array([np.nan] * size)}))
    with pytest.raises(CheckpointError, match="complex"):
        parse(saved({"w": np.ones(3, np.complex64)}))


def lying(
    raw: bytes = b"C\x08" + bytes(8), shape: bytes = b"K\x02\x85", dtype: bytes = b"X\x02\x00\x00\x00f4"
) -> bytes:
    """An array of two floats, or what else it says it is."""
    return zipped(
        b"\x80\x02}X\x01\x00\x00\x00wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape + b"cnumpy\ndtype\n" + dtype + b"\x89\x88\x87R\x89" + raw + b"tbs."
    )  # fmt: skip


LYING = {
    "too few values": {"raw": b"C\x04" + bytes(4)},
    "too many values": {"raw": b"C\x0c" + bytes(12)},
    "no values": {"raw": b"N"},
    "a list of values": {"raw": b"]"},
    "a negative extent": {"shape": b"J\xff\xff\xff\xff\x85"},
    "an extent of text": {"shape": b"X\x01\x00\x00\x00a\x85"},
    "a shape that is a number": {"shape": b"K\x02"},
    "2^62 values": {"shape": b"\x8a\x08" + (2**62).to_bytes(8, "little") + b"\x85"},
    "a text where values should be": {"raw": b"X\x00\x08\x00\x00" + b"a" * 2048},
    "a text that is no bytes": {"raw": b"X\x00\x08\x00\x00" + "€a".encode() * 512, "shape": b"M\x00\x02\x85"},
    "65 axes": {"shape": b"(" + b"K\x01" * 65 + b"t"},
}  # fmt: skip


def test_the_same_array_without_a_lie() -> None:
    assert parse(lying()).entries[0].shape == (2,)


@pytest.mark.parametrize("name", LYING)
def test_arrays_that_lie_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse(lying(**LYING[name]))
    assert len(caught.value.lines()) == 3


def test_an_attack_in_an_array_of_objects_is_one() -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return exit, ()

    with pytest.raises(UnsafeCheckpointError):
        parse(saved({"state_dict": STATE, "x": np.array([Runs()], object)}))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_arrays_are_read_or_refused(data: st.DataObject) -> None:
    document = saved_by({"w": np.arange(400, dtype=np.float32), "b": np.ones(3)}, data.draw(st.integers(2, 5)))
    programme = bytearray(zipfile.ZipFile(io.BytesIO(document)).read("archive/data.pkl"))
    for _ in range(data.draw(st.integers(1, 4))):
        programme[data.draw(st.integers(0, len(programme) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(AuditError):
        assert read(zipped(bytes(programme))).tensors


def test_every_kind_of_number_is_known_to_torch() -> None:
    for code, name in KINDS.items():
        assert getattr(torch, name).itemsize == np.dtype(code).itemsize
