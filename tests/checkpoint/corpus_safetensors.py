"""safetensors files whose headers lie."""

from __future__ import annotations

import struct
from typing import Any

from corpus_base import BROKEN, Case, case, tensors_file

F = "F32"
FOUR = bytes(4)


def one(dtype: object = F, shape: object = (1,), offsets: object = (0, 4), **more: object) -> dict[str, Any]:
    """A header with one tensor."""
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}}


TWICE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HEADERS: dict[str, bytes] = {
    "length 2^63": tensors_file({}, length=2**63),
    "length 2^64 - 1": tensors_file({}, length=2**64 - 1),
    "length beyond the file": tensors_file({}, length=1000),
    "length 0": tensors_file({}, length=0),
    "length 1": tensors_file({}, length=1),
    "length 100 MB that is not there": tensors_file({}, bytes(10), length=100_000_000),
    "not json": tensors_file(b"{" + b"x" * 20),
    "not utf-8": tensors_file(b'{"\xff\xfe": 1}'),
    "lone surrogate": tensors_file(b'{"\\ud800": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "NaN in the header": tensors_file(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', FOUR),
    "infinity in the header": tensors_file(b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', FOUR),
    "a number of 10,000 digits": tensors_file(
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}', FOUR
    ),
    "deep json": tensors_file(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "deep lists": tensors_file(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "duplicate keys": tensors_file(b"{" + TWICE + b"," + TWICE + b"}", FOUR),
    "duplicate fields": tensors_file(b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "duplicate keys by escape": tensors_file(b"{" + TWICE + b"," + TWICE.replace(b'"a"', b'"\\u0061"') + b"}", FOUR),
    "overlap": tensors_file({**one(shape=[2], offsets=[0, 8]), "b": one(shape=[2], offsets=[4, 12])["a"]}, bytes(12)),
    "the same place twice": tensors_file({**one(), "b": one()["a"]}, FOUR),
    "gap": tensors_file(one(offsets=[4, 8]), bytes(8)),
    "gap between": tensors_file({**one(), "b": one(offsets=[8, 12])["a"]}, bytes(12)),
    "bytes left over": tensors_file(one(), bytes(8)),
    "data cut": tensors_file(one(), bytes(3)),
    "no data": tensors_file(one()),
    "negative offset": tensors_file(one(offsets=[-4, 0]), FOUR),
    "negative shape": tensors_file(one(shape=[-1]), FOUR),
    "two negative shapes": tensors_file(one(shape=[-1, -1]), FOUR),
    "shape 2^63": tensors_file(one(shape=[2**63]), FOUR),
    "shape product 2^64": tensors_file(one(shape=[2**32, 2**32], offsets=[0, 0])),
    "shape product wraps to 1": tensors_file(one(shape=[2**32, 2**32, 1]), FOUR),
    "shape with zero times 2^62": tensors_file(one(shape=[2**62, 4, 0], offsets=[0, 0])),
    "offsets 2^63": tensors_file(one(offsets=[2**63, 2**63 + 4]), FOUR),
    "65 axes": tensors_file(one(shape=[1] * 65), FOUR),
    "100,000 axes": tensors_file(one(shape=[1] * 100_000), FOUR),
    "empty, but 2^122 otherwise": tensors_file({**one(), "b": one(shape=[2**61, 0, 2**61], offsets=[4, 4])["a"]}, FOUR),
    "wrong size": tensors_file(one(shape=[2]), FOUR),
    "offsets reversed": tensors_file(one(offsets=[4, 0]), FOUR),
    "one offset": tensors_file(one(offsets=[4]), FOUR),
    "three offsets": tensors_file(one(offsets=[0, 4, 8]), FOUR),
    "offsets of text": tensors_file(one(offsets=["0", "4"]), FOUR),
    "boolean shape": tensors_file(one(shape=[True]), FOUR),
    "fractional shape": tensors_file(one(shape=[1.0]), FOUR),
    "shape is a number": tensors_file(one(shape=1), FOUR),
    "shape is nothing": tensors_file(one(shape=None), FOUR),
    "unknown dtype": tensors_file(one("Q4"), FOUR),
    "dtype in lower case": tensors_file(one("f32"), FOUR),
    "dtype of a list": tensors_file(one(["F32"]), FOUR),
    "complex": tensors_file(one("C64", offsets=[0, 8]), bytes(8)),
    "no shape": tensors_file({"a": {"dtype": F, "data_offsets": [0, 4]}}, FOUR),
    "an extra field": tensors_file(one(x=1), FOUR),
    "entry is a number": tensors_file({"a": 1}),
    "entry is a list": tensors_file({"a": [F, [1], [0, 4]]}, FOUR),
    "metadata of numbers": tensors_file({"__metadata__": {"a": 1}}),
    "metadata is a list": tensors_file({"__metadata__": []}),
    "no tensors": tensors_file({}),
    "only metadata": tensors_file({"__metadata__": {"format": "pt"}}),
    "integers only": tensors_file(one("I32"), FOUR),
    "empty tensors only": tensors_file(one(shape=[0], offsets=[0, 0])),
    "NaN": tensors_file(one(), struct.pack("<f", float("nan"))),
    "infinity": tensors_file(one(), struct.pack("<f", float("-inf"))),
    "NaN in fp16": tensors_file(one("F16", offsets=[0, 2]), b"\x01\x7c"),
    "NaN in bf16": tensors_file(one("BF16", offsets=[0, 2]), b"\xc0\x7f"),
    "NaN in fp64": tensors_file(one("F64", offsets=[0, 8]), struct.pack("<d", float("nan"))),
    "NaN in fp8": tensors_file(one("F8_E4M3", offsets=[0, 1]), b"\x7f"),
    "infinity in fp8": tensors_file(one("F8_E5M2", offsets=[0, 1]), b"\x7c"),
    "control characters": tensors_file({"a\x1b[31m": one()["a"]}, FOUR),
    "newline in a name": tensors_file({"a\nPASS": one()["a"]}, FOUR),
    "zero byte in a name": tensors_file({"a\0b": one()["a"]}, FOUR),
    "right-to-left name": tensors_file({"a\u202e": one()["a"]}, FOUR),
    "empty name": tensors_file({"": one()["a"]}, FOUR),
    "overlong name": tensors_file({"a" * 501: one()["a"]}, FOUR),
}  # fmt: skip


def _many() -> bytes:
    entry = b'"%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    return tensors_file(b"{" + b",".join(entry % (i, 4 * i, 4 * i + 4) for i in range(100_000)) + b"}", bytes(400_000))


CASES = [case("safetensors header", name, data, BROKEN) for name, data in HEADERS.items()] + [
    Case("safetensors size", "10^5 keys", _many, BROKEN, "100000 tensors"),
    Case("safetensors size", "a header of 100 MB", lambda: tensors_file(b"{" + b" " * 100_000_000), BROKEN, "claims"),
    Case("safetensors size", "30 MB of spaces", lambda: tensors_file(b"{" + b" " * 30_000_000), BROKEN, "JSON"),
]
