"""hf:// addresses against a hub on this machine: what is chosen, pinned, merged, and refused in three lines."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save
from stub_hub import COMMIT, Hub, serving

from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError
from reid_audit.origins.merge import merge, parts_of

pytest.importorskip("huggingface_hub")
NAME = "hospital/chest"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {key: value.contiguous() for key, value in torchvision.models.resnet18(num_classes=2).state_dict().items()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


def shards(tensors: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """Two parts and their index."""
    keys = list(tensors)
    files = {f"model-0000{n}-of-00002.safetensors": keys[n - 1 :: 2] for n in (1, 2)}
    listed = {key: file for file, part in files.items() for key in part}
    return {
        **{file: save({key: tensors[key] for key in part}) for file, part in files.items()},
        "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": listed}).encode(),
    }


def run(hub: Hub, home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: the client reads its settings when it is imported."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.address, **more}
    return subprocess.run(
        [sys.executable, "-m", "reid_audit", *words],
        env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def inspected(hub: Hub, home: Path, uri: str, **more: str) -> dict[str, Any]:
    done = run(hub, home, "inspect", "--json", uri, **more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert not list(home.glob("reid-audit-model-*"))
    return found


def refused(hub: Hub, home: Path, uri: str, code: int = 3, **more: str) -> str:
    done = run(hub, home, "inspect", uri, **more)
    assert done.returncode == code, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()][1:] == ["closest", "help"], done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_safetensors_first_and_pinned_to_the_commit(hub: Hub, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    whole = save(tensors)
    hub.models[NAME] = {"README.md": b"# x", "model.safetensors": whole, "pytorch_model.bin": b"never asked for"}
    found = inspected(hub, tmp_path, f"hf://{NAME}")
    assert found["origin"] == f"hf://{NAME}@{COMMIT}"
    assert found["checkpoint"]["sha256"] == hashlib.sha256(whole).hexdigest()
    assert found["architecture"]["name"] == "resnet18"
    assert not any("pytorch_model.bin" in line for line in hub.asked)
    asked = len(hub.asked)
    again = inspected(hub, tmp_path, f"hf://{NAME}", HF_HUB_OFFLINE="1")
    assert again["origin"] == found["origin"]
    assert len(hub.asked) == asked, "offline means offline"


def test_a_sharded_index_is_followed(hub: Hub, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    hub.models[NAME] = shards(tensors)
    found = inspected(hub, tmp_path, f"hf://{NAME}@{COMMIT}")
    assert found["checkpoint"]["tensors"] == len(tensors)
    assert found["architecture"]["name"] == "resnet18"
    again = inspected(hub, tmp_path, f"hf://{NAME}@main")
    assert again["checkpoint"]["sha256"] == found["checkpoint"]["sha256"], "the same parts give the same file"


def test_check_says_what_it_took_and_under_which_commit(
    hub: Hub, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    hub.models[NAME] = {"model.safetensors": save(tensors)}
    done = run(hub, tmp_path, "check", f"hf://{NAME}", "--base", f"hf://{NAME}@main", "--dry-run", "--json")
    assert f"taken from hf://{NAME}@{COMMIT}" in done.stderr.splitlines()
    assert json.loads(done.stdout)["cost"]["network"] == "resnet18"
    assert done.returncode == 2, "films are missing, which is said after the model was found"


def test_one_file_by_name(hub: Hub, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    hub.models[NAME] = {"folds/a.safetensors": save(tensors), "folds/b.safetensors": save(tensors)}
    assert "name one" in refused(hub, tmp_path, f"hf://{NAME}")
    found = inspected(hub, tmp_path, f"hf://{NAME}@main/folds/b.safetensors")
    assert found["origin"].endswith("/folds/b.safetensors")


def test_a_pickle_from_the_hub_is_read_as_any_other(hub: Hub, tmp_path: Path) -> None:
    hub.models[NAME] = {"pytorch_model.bin": b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."}
    assert "posix" in refused(hub, tmp_path, f"hf://{NAME}", code=5)


def test_what_cannot_be_had_is_refused(hub: Hub, tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    hub.models[NAME] = {"model.safetensors": save(tensors)}
    hub.gated.add("hospital/gated")
    assert "HF_TOKEN" in refused(hub, tmp_path, "hf://hospital/nowhere")
    assert "accept its terms" in refused(hub, tmp_path, "hf://hospital/gated")
    assert "branch, a tag or a commit" in refused(hub, tmp_path, f"hf://{NAME}@v9")
    assert "name a file" in refused(hub, tmp_path, f"hf://{NAME}@main/model.pt")
    assert "HF_HUB_OFFLINE" in refused(hub, tmp_path, f"hf://{NAME}", HF_HUB_OFFLINE="1")
    for wrong in ("hf://chest", "hf://a/b/../c", "hf:/x"):
        assert "hf://OWNER/MODEL" in refused(hub, tmp_path, wrong, code=2)
    assert "hf:" in refused(hub, tmp_path, "s3://bucket/model.pt", code=2)


def test_no_hub_at_all(tmp_path: Path) -> None:
    nobody = Hub("http://127.0.0.1:9")
    assert "HF_ENDPOINT" in refused(nobody, tmp_path, f"hf://{NAME}")


def test_without_the_extra(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    assert "reid-audit[hub]" in refused(hub, tmp_path, f"hf://{NAME}", code=2, PYTHONPATH=path)


def test_parts_become_the_whole(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    files = shards(tensors)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    listed = parts_of(files["model.safetensors.index.json"])
    parts = {name: tmp_path / name for name in set(listed.values())}
    merged = load_file(merge(parts, listed, tmp_path / "merged.safetensors"))
    assert merged.keys() == tensors.keys()
    assert all(torch.equal(merged[key], tensors[key]) for key in tensors)
    with pytest.raises(CheckpointError, match="bytes"):
        merge(parts, listed, tmp_path / "large.safetensors", Limits(file_bytes=1000))
    assert not (tmp_path / "large.safetensors").exists()
    short = {key: part for key, part in listed.items() if key != "fc.bias"}
    with pytest.raises(CheckpointError, match="do not hold"):
        merge(parts, short, tmp_path / "short.safetensors")


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b'{"weight_map": {}}', b'{"weight_map": {"a": "../x.safetensors"}}', b'{"weight_map": {"a": "x.bin"}}',
     b'{"weight_map": {"a": ["x.safetensors"]}}', b"[" * 100_000],
)  # fmt: skip
def test_an_index_leads_nowhere_else(index: bytes) -> None:
    with pytest.raises(CheckpointError, match="index"):
        parts_of(index)
