"""Legitimate files: unwrapped, prefixes gone, order kept, and what lies beside the weights is said."""

from __future__ import annotations

import argparse
import hashlib
import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from reid_audit.checkpoint import load_checkpoint
from reid_audit.checkpoint.inert import TensorSpec
from reid_audit.checkpoint.limits import DEFAULT, Limits
from reid_audit.checkpoint.read import Read, read_torch
from reid_audit.checkpoint.sniff import HEAD_BYTES, sniff
from reid_audit.checkpoint.unwrap import EMA, OPTIMISER, PERSONAL, ROUNDED, WRAPPERS, strip_prefixes, unwrap
from reid_audit.errors import CheckpointError, UnsafeCheckpointError

STATE = OrderedDict(
    {"stem.weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), "bn.running_mean": torch.ones(4)}
)


def parse(document: Any, *, legacy: bool = False) -> Read:
    buffer = io.BytesIO()
    torch.save(document, buffer, _use_new_zipfile_serialization=not legacy)
    data = buffer.getvalue()
    return read_torch(io.BytesIO(data), sniff(data[:HEAD_BYTES], len(data)), len(data), DEFAULT)


def same(read: Read) -> bool:
    return list(read.tensors) == list(STATE) and all(torch.equal(read.tensors[k], v) for k, v in STATE.items())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [*WRAPPERS, "state_dict_ema", "ema"])
def test_wrappers(wrapper: str, legacy: bool) -> None:
    read = parse({wrapper: STATE, "epoch": 3}, legacy=legacy)
    assert same(read)
    assert read.wrapper == wrapper


@pytest.mark.parametrize("prefix", ["module.", "model.", "net._orig_mod.", "_forward_module.module.", "a.b.c.d.e."])
def test_prefixes(prefix: str) -> None:
    assert same(parse({prefix + key: value for key, value in STATE.items()}))


def test_nested_wrappers_and_unknown_ones() -> None:
    assert parse({"checkpoint": {"state_dict": {"model": STATE}}}).wrapper == "(another key).state_dict.model"
    assert parse({"the patient's name": STATE}).wrapper == "(another key)"


def test_findings_are_said() -> None:
    document = {
        "state_dict": STATE,
        "state_dict_ema": STATE,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
        "args": "/home/somebody/patients.csv",
    }
    assert set(parse(document).findings) == {OPTIMISER, EMA, PERSONAL}
    assert parse(STATE).findings == ()


def test_foreign_classes_become_placeholders() -> None:
    document = {"state_dict": STATE, "hyper_parameters": argparse.Namespace(folder=Path("/data/x"), rate=0.1)}
    for legacy in (False, True):
        read = parse(document, legacy=legacy)
        assert same(read)
        assert "replaced by an inert placeholder: argparse.Namespace" in read.findings
        assert PERSONAL in read.findings
        assert not any("/data/x" in finding for finding in read.findings)


def test_inert_reading_equals_torch() -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    document = {
        "state_dict": {
            "whole": shared, "turned": shared.t(), "part": shared[1:, ::2], "scalar": torch.tensor(2.5),
            "empty": torch.empty(0, 3), "count": torch.tensor(7), "flag": torch.tensor([True, False]),
            "half": torch.ones(2).half(), "brain": torch.ones(2).bfloat16(), "double": torch.ones(2).double(),
            "weight": torch.nn.Parameter(torch.ones(3)), "denormal": torch.tensor([1e-42]),
        },
    }  # fmt: skip
    plain = parse(document)
    inert = parse({**document, "args": argparse.Namespace()})
    assert list(plain.tensors) == list(inert.tensors)
    for key, value in plain.tensors.items():
        assert torch.equal(value, inert.tensors[key])
        assert value.dtype == inert.tensors[key].dtype
    assert plain.dtypes == inert.dtypes
    assert plain.tensors["half"].dtype is torch.float32
    assert ROUNDED in plain.findings


def test_many_keys() -> None:
    read = parse({f"layer{i}.w": torch.ones(1) for i in range(2000)})
    assert len(read.tensors) == 2000


@settings(max_examples=60, deadline=None)
@given(
    keys=st.lists(st.from_regex(r"[a-c]{1,2}(\.[a-c]{1,2}){0,3}", fullmatch=True), min_size=2, max_size=8, unique=True),
    prefix=st.lists(st.sampled_from(["module", "model", "_orig_mod", "net"]), max_size=3),
)
def test_stripping_is_idempotent_and_loses_nothing(keys: list[str], prefix: list[str]) -> None:
    spec = TensorSpec(None, 0, (), ())
    entries = {".".join([*prefix, key]): spec for key in keys}
    stripped = strip_prefixes(entries)
    assert len(stripped) == len(entries)
    assert strip_prefixes(stripped) == stripped
    assert all(long.endswith(short) for long, short in zip(entries, stripped, strict=True))
    assert list(stripped) == list(strip_prefixes(dict.fromkeys(keys, spec)))


def test_averaged_model_counter_is_not_a_weight() -> None:
    document = {"n_averaged": torch.tensor(5), **{f"module.{k}": v for k, v in STATE.items()}}
    assert list(unwrap(document).entries) == list(STATE)


def test_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    save_file({f"module.{k}": v for k, v in STATE.items()}, path, metadata={"author": "a.b@example.org"})
    found = load_checkpoint(path)
    assert set(found.tensors) == set(STATE)
    assert found.summary.format == "safetensors"
    assert found.summary.parameters == 12
    assert found.summary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.summary.findings == (PERSONAL,)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert load_checkpoint(link).summary.sha256 == found.summary.sha256


def test_torch_file_through_the_child(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save({"state_dict": STATE, "tied": 1}, path)
    found = load_checkpoint(path)
    assert list(found.tensors) == list(STATE)
    assert torch.equal(found.tensors["stem.weight"], STATE["stem.weight"])
    assert found.summary.format == "torch-zip"
    assert found.summary.wrapper == "state_dict"


def test_the_child_names_the_attack(tmp_path: Path) -> None:
    (tmp_path / "evil.bin").write_bytes(b"cposix\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(UnsafeCheckpointError, match="system"):
        load_checkpoint(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


def test_a_reader_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "slow.pt")
    with pytest.raises(CheckpointError, match="limits"):
        load_checkpoint(tmp_path / "slow.pt", limits=Limits(seconds=0.01))


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "large.pt")
    with pytest.raises(CheckpointError, match="bytes"):
        load_checkpoint(tmp_path / "large.pt", limits=Limits(file_bytes=100))
