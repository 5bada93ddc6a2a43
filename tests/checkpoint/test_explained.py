"""What people give instead of a checkpoint: each is called by its name, and the help is what helps."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import shlex
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn.linear_model
import torch
from corpus_base import saved
from foreign import bare, importable
from safetensors.torch import save, save_file
from test_load import REPOSITORY, STATE
from torch import nn

from reid_audit.checkpoint import load_checkpoint, screen
from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError


def refusal(path: Path) -> AuditError:
    """The refusal of a file: exit 3, three printable lines."""
    with pytest.raises(CheckpointError) as caught:
        screen(path)
    assert caught.value.exit_code == 3
    assert all(line.isprintable() and len(line) < 700 for line in caught.value.lines())
    assert len(caught.value.lines()) == 3
    return caught.value


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()


def optimiser() -> torch.optim.Optimizer:
    module = network()
    found = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 1, 8, 8)).sum().backward()
    found.step()
    return found


def schedule() -> dict[str, Any]:
    return torch.optim.lr_scheduler.LambdaLR(optimiser(), lambda _: 1.0).state_dict()


def arguments() -> bytes:
    with importable("my_transformers.training_args.TrainingArguments") as made:
        return saved(bare(made["TrainingArguments"], output_dir="out", fsdp_config={"min": 0}, learning_rate=5e-5))


def adapters(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    layers = [f"base_model.model.vit.encoder.layer.{i}.attention.attention.{kind}" for i in (0, 1) for kind in "qkv"]
    low = {f"{layer}.lora_{side}.weight": torch.ones(4, 4) for layer in layers for side in "AB"}
    return {**low, **more}


def random_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.RandomState(0).get_state(),
        "cpu": torch.random.get_rng_state(),
    }


def joblib_dump(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


def regression() -> sklearn.linear_model.LogisticRegression:
    return sklearn.linear_model.LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])


def exported() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network(), (torch.ones(1, 1, 8, 8),)), buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network(), torch.ones(1, 1, 8, 8)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def zipped(**names: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def arrays(**options: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.ones((2, 2)), **options)
    return buffer.getvalue()


def tarred(names: tuple[str, ...] = ("model/model.pt",)) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


S3 = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.'
    b"</Message><Key>model.pt</Key><RequestId>4442587FB7D0A2F9</RequestId></Error>"
)
OPENVINO = (
    b'<?xml version="1.0"?>\n<net name="main_graph" version="11">\n\t<layers>\n\t\t<layer id="0" name="x" '
    b'type="Parameter" version="opset1">'
)
SAVED_MODEL = b"\x08\x01\x12\xa9\x87\x01\n\xce(\x12\xcb(\n:\n\x03Add\x12\x06\n\x01x\x12\x01T\x1a\x06" + bytes(200)
ONNX = b"\x08\x0a\x12\x0epaddlepaddle-x\x1a\x051.2.1:\xff\x01\n\x1c\n\x05input" + bytes(60)
FLAX = b"\x81\xa6params\x82\xa8backbone\x81\xa6conv_0\x81\xa6kernel\xc7" + bytes(60)
FILES: dict[str, tuple[Callable[[], bytes] | bytes, str, str, str]] = {
    "optimizer.pt": (lambda: saved(optimiser().state_dict()), "an optimiser's state, not a network", "", "weights"),
    "scheduler.pt": (lambda: saved(schedule()), "schedule's state", "base_lrs", "model.safetensors"),
    "scaler.pt": (
        lambda: saved(torch.amp.GradScaler("cpu").state_dict()), "gradient scaler's state", "", "model.safetensors",
    ),
    "rng_state.pth": (lambda: saved(random_states()), "random number generators", "", "model.safetensors"),
    "training_args.bin": (arguments, "training arguments, not a state_dict", "", "model.safetensors"),
    "adapter_model.safetensors": (lambda: save(adapters()), "adapters (LoRA", "12 of 12", "merge_and_unload"),
    "adapter_model.bin": (lambda: saved(adapters()), "without the network", "lora_A", "merge_and_unload"),
    "with a head.safetensors": (
        lambda: save(adapters(**{"base_model.model.classifier.weight": torch.ones(2, 4)})), "adapters", "12 of 13",
        "merge_and_unload",
    ),
    "prompt.safetensors": (lambda: save({"prompt_embeddings": torch.ones(4, 8)}), "adapters", "1 of 1", "merge"),
    "ema.pt": (
        lambda: saved({"decay": 0.9, "num_updates": 3, "shadow_params": [torch.ones(2)]}), "averaged parameters",
        "shadow_params", "copy_to",
    ),
    "object.pt": (lambda: saved(nn.ReLU()), "dictionary", "", "state_dict"),
    "model.pt2": (exported, "a torch.export program", "", "original module"),
    "scripted.pt": (scripted, "a TorchScript archive", "", "torch.jit.load(file).state_dict()"),
    "model.onnx": (ONNX, "an ONNX model", "", "PyTorch checkpoint it was made from"),
    "saved_model.pb": (SAVED_MODEL, "a TensorFlow SavedModel", "", "PyTorch"),
    "weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(80), "an HDF5 file", "", "PyTorch"),
    "net.keras": (
        lambda: zipped(metadata_dot_json=b"{}", config_dot_json=b"{}", model_dot_weights_dot_h5=b"\x89HDF"),
        "a Keras archive", "", "PyTorch",
    ),
    "flax_model.msgpack": (FLAX, "a checkpoint of Flax", "", "PyTorch"),
    "forest.joblib": (lambda: joblib_dump(regression()), "a dump of joblib", "joblib", "PyTorch"),
    "scaler.joblib": (lambda: joblib_dump({"a": np.ones((200, 20))}), "a dump of joblib", "", "PyTorch"),
    "forest.pkl": (lambda: pickle.dumps(regression()), "plain pickle, a scikit-learn model", "", "save"),
    "numbers.pkl": (lambda: pickle.dumps({"auc": 0.9, "ids": ["a"]}), "plain pickle, not a torch", "arrays", "save"),
    "model.gguf": (b"GGUF\x03\0\0\0" + bytes(64), "a GGUF file", "", "PyTorch"),
    "openvino.xml": (OPENVINO, "the network description of an OpenVINO model", "", "PyTorch"),
    "s3.pt": (S3, "an object store's answer (NoSuchKey)", "", "download failed"),
    "azure.pt": (
        "\ufeff<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>".encode(),
        "an object store's answer (AuthenticationFailed)", "", "permission",
    ),
    "listing.pt": (b'<?xml version="1.0"?><ListBucketResult xmlns="x">', "an object store's answer", "", "path"),
    "data.xml": (b"<?xml version='1.0'?><!-- a --><annotation><folder>x", "an XML document", "annotation", "PyTorch"),
    "drawing.pt": (b"<?xml version='1.0'?><svg xmlns='x'>", "an image", "", "--reference"),
    "page.pt": (b"<!DOCTYPE html>\n<html lang=en><title>Sign in</title>", "a web page", "", "not the page"),
    "xhtml.pt": (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC 'x'>\n<html>", "a web page", "", "not the page"),
    "drive.pt": (
        b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>", "Google Drive", "", "gdown",
    ),
    "answer.pt": (b'{"error":"Repository not found"}', "a server's answer", "Repository not found", "permission"),
    "entry.pt": (b"Entry not found", "a server's answer", "Entry not found", "permission"),
    "denied.pt": (b"Invalid username or password.", "a server's answer", "Invalid username", "permission"),
    "github.pt": (b"404: Not Found", "a server's answer", "404", "path"),
    "gated.pt": (b"Access to model a/b is restricted. You must have access", "a server's answer", "restricted", "path"),
    "lfs.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "", "git lfs pull"),
    "model.pt.dvc": (b"outs:\n- md5: a304afb96060aad9\n  path: model.pt\n", "a DVC pointer", "", "dvc pull"),
    "annex.pt": (b"/annex/objects/SHA256E-s1--0.pt\n", "a git-annex pointer", "", "git annex get"),
    "config.json": (
        b'{\n  "architectures": ["ViTForImageClassification"],\n  "model_type": "vit"\n}', "configuration of a network",
        "", "model.safetensors",
    ),
    "adapter_config.json": (b'{"peft_type": "LORA", "r": 8}', "settings of adapters", "", "merge"),
    "trainer_state.json": (b'{"best_metric": 1, "log_history": []}', "log of a training run", "", "model.safetensors"),
    "plans.json": (b'{"dataset_name": "Dataset004", "plans_name": "x"}', "nnU-Net", "", "checkpoint_final.pth"),
    "metadata.json": (b'{"version": "1", "monai_version": "1.3"}', "MONAI bundle", "", "models/model.pt"),
    "other.json": (b'{"a": [1, 2]}', "a JSON document", "", "PyTorch"),
    "notes.yaml": (b"model:\n  name: resnet18\n  pretrained: true\ntrainer:\n  epochs: 3\n", "a YAML document", "", ""),
    "empty.pt": (b"", "the file is empty", "", "download"),
    "readme.txt": (b"# Model\nTrained with tensorflow and pytorch.\n", "text", "", "save"),
    "newline.txt": (b"\n\n tensorflow and Placeholder notes\n", "text", "", "save"),
    "indented.json": (b'        {"a": 1}', "a JSON document", "", ""),
    "brace at byte 9.txt": (b"class A {\n  int b;\n}\n", "text", "", "save"),
    "bundle.tar": (tarred, "a tar archive", "", "unpack"),
    "old.pt": (lambda: tarred(("sys_info", "pickle")), "a torch.save file of 2016", "", "weights_only=True"),
    "model.pt.gz": (lambda: gzip.compress(saved(STATE)), "a gzip archive", "", "unpack"),
    "arrays.npz": (arrays, "a numpy archive (npz)", "", "numpy.load"),
    "bundle.zip": (
        lambda: zipped(bundle__configs__metadata_dot_json=b"{}", bundle__models__model_dot_pt=saved(STATE)),
        "a zipped MONAI bundle", "bundle/models/model.pt", "give bundle/models/model.pt",
    ),
    "nnunet.zip": (
        lambda: zipped(d__dataset_dot_json=b"{}", d__fold_0__checkpoint_final_dot_pth=saved(STATE)),
        "a zipped nnU-Net model", "checkpoint_final.pth", "each fold",
    ),
    "several.zip": (
        lambda: zipped(a_dot_pt=saved(STATE), b_dot_pth=saved(STATE)), "a zip archive with 2 checkpoints inside",
        "a.pt, b.pth", "unpack it and give a.pt",
    ),
    "films.zip": (lambda: zipped(a_dot_png=b"", b_dot_png=b""), "a zip archive of images", "", "--reference"),
    "served.mar": (
        lambda: zipped(MAR_INF__x=b"", m_dot_pt=b"").replace(b"MAR_INF", b"MAR-INF"), "TorchServe", "", "m.pt",
    ),
    "model.engine": (b"ptrt" + bytes(60), "a TensorRT engine", "", "PyTorch"),
    "volume.nii": (bytes(344) + b"n+1\0" + bytes(60), "a NIfTI volume", "", "--reference"),
    "model.pte": (b"\x1c\0\0\0ET12" + bytes(60), "an ExecuTorch program", "", "PyTorch"),
    "model.mlmodel": (b"\x08\x04\x12\x86\x01\x0a\x1b\x0a\x05image\x1a" + bytes(60), "a Core ML model", "", "PyTorch"),
    "model-00001-of-00003.safetensors": (
        lambda: save(STATE), "part 1 of 3 of a sharded checkpoint", "index", "model.safetensors.index.json",
    ),
    "pytorch_model-00002-of-00002.bin": (
        lambda: saved(STATE), "part 2 of 2", "index", "pytorch_model.bin.index.json",
    ),
    "__0_0.distcp": (lambda: saved(torch.ones(2)), "a part of a distributed checkpoint", "", "dcp_to_torch"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_each_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    make, what, closest, remedy = FILES[name]
    (tmp_path / name).write_bytes(make if isinstance(make, bytes) else make())
    found = refusal(tmp_path / name)
    assert what in found.what
    assert closest in found.closest
    assert remedy in found.remedy


def test_one_of_one_is_no_part_and_parts_do_not_hide_attacks(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model-00001-of-00001.safetensors")
    assert set(load_checkpoint(tmp_path / "model-00001-of-00001.safetensors").tensors) == set(STATE)
    (tmp_path / "model-00001-of-00002.bin").write_bytes(pickle.dumps(exec))
    with pytest.raises(UnsafeCheckpointError):
        screen(tmp_path / "model-00001-of-00002.bin")


def test_adapters_beside_their_network_are_part_of_it(tmp_path: Path) -> None:
    whole = {
        "layer.base_layer.weight": torch.ones(4, 4),
        "layer.lora_A.default.weight": torch.ones(2, 4),
        "layer.lora_B.default.weight": torch.ones(4, 2),
    }
    save_file(whole, tmp_path / "model.safetensors")
    assert set(load_checkpoint(tmp_path / "model.safetensors").tensors) == {key.removeprefix("layer.") for key in whole}


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_the_merging_command_merges_or_fails(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [f"m-0000{i}-of-00002.{suffix}" for i in (1, 2)]
    for part, (key, value) in zip(parts, STATE.items(), strict=True):
        (tmp_path / part).write_bytes(save({key: value}) if suffix == "safetensors" else saved({key: value}))
    index = tmp_path / f"m.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": dict(zip(STATE, parts, strict=True))}))
    python, option, code = shlex.split(refusal(index).remedy.removeprefix("in its folder run "))
    assert (python, option) == ("python", "-c")
    assert index.name in code
    assert refusal(tmp_path / parts[0]).remedy == refusal(index).remedy
    usual = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    assert code.replace(f"m.{suffix}", usual) in (REPOSITORY / "docs" / "checkpoints.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    merged = load_checkpoint(tmp_path / ("merged.safetensors" if suffix == "safetensors" else "merged.pt")).tensors
    assert set(merged) == set(STATE)
    assert all(torch.equal(merged[key], value) for key, value in STATE.items())
    (tmp_path / parts[1]).unlink()
    with pytest.raises((FileNotFoundError, OSError)):
        exec(code, {})


FOLDERS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "trainer": (
        ("model.safetensors", "optimizer.pt", "training_args.bin", "rng_state.pth"), "a folder", "model.safetensors",
        "model.safetensors",
    ),
    "sharded": (
        ("model.safetensors.index.json", "model-00001-of-00002.safetensors"), "a sharded checkpoint", "model-00001",
        "model.safetensors.index.json",
    ),
    "adapter": (("adapter_config.json", "adapter_model.safetensors"), "adapters", "adapter_model", "merge_and_unload"),
    "nnunet": (
        ("dataset.json", "plans.json", "fold_0/checkpoint_best.pth", "fold_0/checkpoint_final.pth",
         "fold_1/checkpoint_final.pth"),
        "an nnU-Net model, a network for each fold", "fold_0/checkpoint_best.pth", "fold_0/checkpoint",
    ),
    "monai": (("configs/metadata.json", "models/model.pt", "LICENSE"), "a MONAI bundle", "models/model.pt", "model.pt"),
    "lightning": (("checkpoints/epoch=3.ckpt", "hparams.yaml"), "a folder", "checkpoints/epoch=3.ckpt", "epoch=3.ckpt"),
    "tensorflow": (("saved_model.pb", "variables/x.index"), "a TensorFlow SavedModel", "no checkpoint", "PyTorch"),
    "deepspeed": (("zero_to_fp32.py", "global_step1/x.pt"), "a DeepSpeed checkpoint", "x.pt", "zero_to_fp32.py"),
    "distributed": ((".metadata", "__0_0.distcp"), "a distributed checkpoint", "no checkpoint", "dcp_to_torch"),
    "unpacked": (("data.pkl", "version", "data/0"), "an unpacked torch.save file", "no checkpoint", "before"),
    "nothing": (("readme.txt",), "a folder", "no checkpoint lies in it", "file itself"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_names_the_file_to_give(name: str, tmp_path: Path) -> None:
    files, what, closest, remedy = FOLDERS[name]
    for file in files:
        (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / file).touch()
    found = refusal(tmp_path / name)
    assert what in found.what
    assert closest in found.closest
    assert remedy in found.remedy


def test_a_folder_with_a_loop_or_many_files_is_looked_at_briefly(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    deep = tmp_path / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "deep.pt").touch()
    assert "no checkpoint" in refusal(tmp_path).closest


def test_a_tuple_of_state_dicts_is_read(tmp_path: Path) -> None:
    module = network()
    torch.save((module.state_dict(), optimiser().state_dict()), tmp_path / "tuple.pt")
    assert set(load_checkpoint(tmp_path / "tuple.pt").tensors) == set(module.state_dict())
