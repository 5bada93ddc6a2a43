"""Well-formed files that hold no model that could be audited; and cut or overwritten ones."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import torch
from corpus_base import BROKEN, STATE, Case, case, saved, tensors_file
from corpus_safetensors import one


def _quantised() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"a": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}


def _sparse_rows() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"a": torch.eye(3).to_sparse_csr(), "b": torch.ones(1)}


NAN, INF = float("nan"), float("inf")
CONTENTS: dict[str, tuple[Callable[[], object], str]] = {
    "a list": (lambda: [torch.ones(2)], "list"),
    "a tuple": (lambda: (torch.ones(2), {}), "tuple"),
    "a set": (lambda: {1, 2}, "set"),
    "a number": (lambda: 3, "int"),
    "a text": (lambda: "weights", "str"),
    "nothing": (lambda: None, "NoneType"),
    "a tensor": (lambda: torch.ones(2), "single tensor"),
    "empty": (dict, "empty"),
    "no tensors": (lambda: {"epoch": 3, "lr": 0.1}, "without tensors"),
    "only an optimiser": (lambda: {"optimizer": {"state": {0: torch.ones(2)}, "param_groups": []}}, "without tensors"),
    "a list of state dictionaries": (lambda: {"models": [STATE, STATE]}, "without tensors"),
    "integers": (lambda: {"a": torch.arange(3)}, "no floating-point"),
    "booleans": (lambda: {"a": torch.tensor([True])}, "no floating-point"),
    "zero size only": (lambda: {"a": torch.empty(0)}, "no floating-point"),
    "NaN": (lambda: {"a": torch.tensor([1.0, NAN])}, "NaN"),
    "infinity": (lambda: {"a": torch.tensor([INF])}, "infinity"),
    "NaN in fp64": (lambda: {"a": torch.tensor([NAN]).double()}, "NaN"),
    "NaN in fp16": (lambda: {"a": torch.tensor([NAN]).half()}, "NaN"),
    "infinity in bf16": (lambda: {"a": torch.tensor([-INF]).bfloat16()}, "NaN"),
    "NaN in fp8": (lambda: {"a": torch.tensor([NAN]).to(torch.float8_e4m3fn)}, "NaN"),
    "infinity in fp8": (lambda: {"a": torch.tensor([INF]).to(torch.float8_e5m2)}, "NaN"),
    "NaN in a strided view": (lambda: {"a": torch.tensor([1.0, 2.0, NAN, 4.0])[::2]}, "NaN"),
    "NaN in the last of two million": (lambda: {"a": torch.cat([torch.zeros(2_000_000), torch.tensor([NAN])])}, "NaN"),
    "complex": (lambda: {"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
    "double complex": (lambda: {"a": torch.ones(2, dtype=torch.complex128)}, "complex"),
    "sparse": (lambda: {"a": torch.eye(3).to_sparse(), "b": torch.ones(1)}, "sparse"),
    "sparse rows": (_sparse_rows, "sparse"),
    "quantised": (_quantised, "quantised"),
    "meta": (lambda: {"a": torch.ones(2, device="meta")}, "meta"),
    "unapplied sign": (lambda: {"a": torch._neg_view(torch.ones(2))}, "sign"),
    "control characters": (lambda: {"a\x07": torch.ones(2)}, "control"),
    "escape sequence": (lambda: {"\x1b]0;PASS\x07": torch.ones(2)}, "control"),
    "newline": (lambda: {"a\nverdict: PASS": torch.ones(2)}, "control"),
    "right-to-left override": (lambda: {"a\u202e": torch.ones(2)}, "control"),
    "lone surrogate": (lambda: {"a\ud800": torch.ones(2)}, ""),
    "overlong name": (lambda: {"a" * 501: torch.ones(2)}, "overlong"),
    "empty name": (lambda: {"": torch.ones(2)}, "empty"),
    "expanded": (lambda: {"a": torch.ones(1).expand(2**33)}, "unpack"),
    "expanded many times": (lambda: {str(i): torch.ones(1).expand(2**20) for i in range(8)}, "unpack"),
    "spread over a large storage": (lambda: _spread(), "unpack"),
    "20,001 keys": (lambda: dict.fromkeys(map(str, range(20_001)), torch.ones(1)), "20001 tensors"),
}  # fmt: skip


def _spread() -> dict[str, torch.Tensor]:
    """Many tensors of two values, each of which needs the whole storage to be read."""
    whole = torch.ones(2**20)
    return {str(i): whole[:: 2**20 - 1] for i in range(40)}


SAMPLES: dict[str, bytes] = {
    "zip": saved(STATE),
    "legacy": saved(STATE, legacy=True),
    "wrapped": saved({"state_dict": STATE, "epoch": 3}),
    "safetensors": tensors_file(one(shape=[4], offsets=[0, 16]), bytes(16)),
}
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.999)


def flipped(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one bit changed."""
    damaged = bytearray(data)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


NOT_IN_LEGACY = ("NaN in fp8", "infinity in fp8", "20,001 keys", "meta", "spread over a large storage")


def _content(name: str, old: bool) -> Case:
    make, phrase = CONTENTS[name]
    return Case("contents", f"{name}, {'legacy' if old else 'zip'}", lambda: saved(make(), legacy=old), BROKEN, phrase)


CASES = [
    *(_content(name, False) for name in CONTENTS),
    *(_content(name, True) for name in CONTENTS if name not in NOT_IN_LEGACY),
    *(
        case("truncation", f"{name} {share:.1%}", data[: max(1, int(len(data) * share))], BROKEN)
        for name, data in SAMPLES.items()
        for share in SHARES
    ),
]
