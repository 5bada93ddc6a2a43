"""Legitimate files: unwrapped, prefixes gone, order kept, and what lies beside the weights is said."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from corpus_base import parse as parse_bytes
from corpus_base import saved
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from reid_audit.checkpoint import load_checkpoint, screen
from reid_audit.checkpoint.inert import TensorSpec
from reid_audit.checkpoint.layout import Entry, Layout
from reid_audit.checkpoint.limits import Limits
from reid_audit.checkpoint.tensors import read_tensors
from reid_audit.checkpoint.unwrap import EMA, OPTIMISER, PERSONAL, ROUNDED, WRAPPERS, strip_prefixes
from reid_audit.errors import CheckpointError, UnsafeCheckpointError

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = OrderedDict(
    {"stem.weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), "bn.running_mean": torch.ones(4)}
)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a file gave."""

    tensors: dict[str, torch.Tensor]
    layout: Layout

    @property
    def findings(self) -> tuple[str, ...]:
        return self.layout.findings


def parse(document: Any, *, legacy: bool = False) -> Read:
    return read(saved(document, legacy=legacy))


def read(data: bytes) -> Read:
    """Layout and tensors, in this process."""
    layout = parse_bytes(data)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return Read(read_tensors(file.fileno(), layout.entries), layout)


def same(read: Read) -> bool:
    return list(read.tensors) == list(STATE) and all(torch.equal(read.tensors[k], v) for k, v in STATE.items())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [*WRAPPERS, "state_dict_ema", "ema"])
def test_wrappers(wrapper: str, legacy: bool) -> None:
    read = parse({wrapper: STATE, "epoch": 3}, legacy=legacy)
    assert same(read)
    assert read.layout.wrapper == wrapper


@pytest.mark.parametrize("prefix", ["module.", "model.", "net._orig_mod.", "_forward_module.module.", "a.b.c.d.e."])
def test_prefixes(prefix: str) -> None:
    assert same(parse({prefix + key: value for key, value in STATE.items()}))


def test_nested_wrappers_and_unknown_ones() -> None:
    assert parse({"checkpoint": {"state_dict": {"model": STATE}}}).layout.wrapper == "(another key).state_dict.model"
    assert parse({"the patient's name": STATE}).layout.wrapper == "(another key)"


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


def variety() -> dict[str, torch.Tensor]:
    shared = torch.arange(24.0).reshape(4, 6)
    deep = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    return {
        "whole": shared, "turned": shared.t(), "part": shared[1:, ::2], "tied": shared, "row": shared[2],
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "empty inside": torch.empty(2, 0, 4),
        "one": torch.ones(1, 1, 1), "expanded": torch.ones(1, 3).expand(4, 3), "double": torch.ones(2).double(),
        "half": torch.tensor([1.5, -6e-8]).half(), "brain": torch.tensor([1.5, 1e-40]).bfloat16(),
        "channels last": deep.contiguous(memory_format=torch.channels_last), "permuted": deep.permute(3, 0, 2, 1),
        "count": torch.tensor(7), "long": torch.tensor([2**62, -1]), "int": torch.tensor([1, -2]).int(),
        "short": torch.tensor([1, -2]).short(), "char": torch.tensor([-2]).char(), "byte": torch.tensor([255]).byte(),
        "flag": torch.tensor([True, False]), "weight": torch.nn.Parameter(torch.ones(3)),
        "buffer": torch.nn.Buffer(torch.ones(3)), "denormal": torch.tensor([1e-42, -1e-45]),
        "minus zero": torch.tensor([-0.0]),
    }  # fmt: skip


def modern() -> dict[str, torch.Tensor]:
    return {
        "fp8": torch.tensor([1.5, -448.0]).to(torch.float8_e4m3fn),
        "wide fp8": torch.tensor([1.5, 57344.0]).to(torch.float8_e5m2),
        "unsigned": torch.tensor([65535]).to(torch.uint16),
        "unsigned int": torch.tensor([2**32 - 1]).to(torch.uint32),
        **variety(),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("foreign", [False, True])
def test_the_same_values_as_torch(legacy: bool, foreign: bool) -> None:
    document = variety() if legacy else modern()
    data = saved({"state_dict": document, **({"args": argparse.Namespace()} if foreign else {})}, legacy=legacy)
    found = read(data)
    with torch.serialization.safe_globals([argparse.Namespace]):
        wanted = torch.load(io.BytesIO(data), weights_only=True)["state_dict"]
    assert list(found.tensors) == list(wanted)
    for key, value in wanted.items():
        ours = found.tensors[key]
        half = value.is_floating_point() and value.element_size() < 4
        assert ours.dtype is (torch.float32 if half else value.dtype)
        assert ours.shape == value.shape
        assert ours.is_contiguous()
        assert torch.equal(ours, value.detach().to(ours.dtype)), key
        assert not ours.requires_grad
    assert bool(found.tensors["minus zero"].signbit().all())
    assert found.tensors["denormal"].tolist() == document["denormal"].tolist()
    assert {entry.key: entry.dtype for entry in found.layout.entries}["half"] == "float16"
    assert ROUNDED in found.findings


def test_the_same_values_as_safetensors() -> None:
    document = {key: value.detach().contiguous().clone() for key, value in variety().items()}
    data = safetensors.torch.save(document)
    found, wanted = read(data).tensors, safetensors.torch.load(data)
    assert set(found) == set(wanted)
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in wanted.items())


def test_every_tensor_has_memory_of_its_own() -> None:
    found = parse({"a.w": STATE["stem.weight"], "b.w": STATE["stem.weight"]}).tensors
    found["a.w"].zero_()
    assert torch.equal(found["b.w"], STATE["stem.weight"])


def test_files_without_checksums_are_read() -> None:
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(STATE)
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read(data))


def test_many_keys() -> None:
    assert len(parse({f"layer{i}.w": torch.ones(1) for i in range(2000)}).tensors) == 2000


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
    assert same(parse(document))


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


def test_screening_says_what_loading_says(tmp_path: Path) -> None:
    torch.save({"model": STATE}, tmp_path / "a.pt")
    assert screen(tmp_path / "a.pt") == load_checkpoint(tmp_path / "a.pt").summary


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reid_audit.checkpoint import tensors

    torch.save(STATE, tmp_path / "a.pt")
    original = tensors.read_tensors

    def changing(descriptor: int, entries: Iterable[Entry]) -> dict[str, torch.Tensor]:
        os.utime(tmp_path / "a.pt", ns=(0, 0))
        return original(descriptor, entries)

    monkeypatch.setattr(tensors, "read_tensors", changing)
    with pytest.raises(CheckpointError, match="changed"):
        load_checkpoint(tmp_path / "a.pt")
