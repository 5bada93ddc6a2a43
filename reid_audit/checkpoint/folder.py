"""A folder given instead of a file: what it seems to be, and which file in it to give."""

from __future__ import annotations

import os
from pathlib import Path

from reid_audit.checkpoint.shards import DISTRIBUTED, INDEX, command
from reid_audit.errors import CheckpointError

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""Endings of files that hold weights and little else."""
PUBLISHED = (*SUFFIXES, ".tar", ".zip")
"""Endings under which weights are published."""
BESIDE = frozenset({"optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "training_args.bin"})
"""What trainers save beside the weights."""
DEEPEST, MOST = 4, 2000
"""Folders inside each other, names looked at."""


def refuse_folder(path: Path) -> CheckpointError:
    """The refusal of a folder, with the files in it that are most likely meant."""
    names = _names(path)
    kind, remedy = _kind(names)
    inside = sorted((n for n in names if _is_checkpoint(n)), key=_likeliest)
    first = remedy or (f"give one file: {path / inside[0]}" if inside else "give the checkpoint file itself")
    return CheckpointError(
        f"{path} is a folder{f': {kind}' if kind else ''}",
        closest=", ".join(inside[:3]) or "no checkpoint lies in it",
        remedy=first,
    )


def near(path: Path) -> list[str]:
    """Names of up to three checkpoints beside ``path``."""
    try:
        folder = path.parent if path.parent.is_dir() else Path()
        return sorted(p.name for p in folder.iterdir() if p.suffix in SUFFIXES)[:3]
    except OSError:
        return []


def _names(path: Path) -> list[str]:
    """Files below ``path``, by relative name; links to folders are not followed."""
    found: list[str] = []
    for folder, below, files in os.walk(path):
        depth = len(Path(folder).relative_to(path).parts)
        below[:] = sorted(below) if depth < DEEPEST else []
        found += [(Path(folder) / name).relative_to(path).as_posix() for name in sorted(files)]
        if len(found) >= MOST:
            break
    return found[:MOST]


def _kind(names: list[str]) -> tuple[str, str]:
    """What the folder is, and what to do where no single file can be given."""
    last = {name.rpartition("/")[2] for name in names}
    if any(name.endswith(".distcp") for name in names):
        return "a distributed checkpoint", DISTRIBUTED
    if "zero_to_fp32.py" in last:
        return "a DeepSpeed checkpoint", "run its zero_to_fp32.py, and audit the file that it writes"
    for pickled, index in INDEX.items():
        if index in last:
            return "a sharded checkpoint", f"in it run {command(pickled=pickled)}"
    if "adapter_config.json" in last and not any(
        name.endswith("model.safetensors") and "adapter" not in name for name in last
    ):
        return "adapters (PEFT) without their network", "merge them: model.merge_and_unload().save_pretrained('merged')"
    if "saved_model.pb" in last:
        return "a TensorFlow SavedModel", "give the checkpoint of a PyTorch network"
    if {"data.pkl", "version"} <= last and any("/data/" in f"/{name}" for name in names):
        return "an unpacked torch.save file", "give the file as it was before it was unpacked"
    if {"dataset.json", "plans.json"} <= last:
        return "an nnU-Net model, a network for each fold", ""
    if any(name.endswith("configs/metadata.json") for name in names):
        return "a MONAI bundle", ""
    return "", ""


def _is_checkpoint(name: str) -> bool:
    return name.endswith(SUFFIXES) and name.rpartition("/")[2] not in BESIDE


def _likeliest(name: str) -> tuple[bool, int, str]:
    """Final and best weights first, those further up before those further down."""
    last = name.rpartition("/")[2]
    usual = (
        "model.safetensors",
        "pytorch_model.bin",
        "model.pt",
        "checkpoint_final.pth",
        "checkpoint_best.pth",
        "best.pt",
    )
    return last not in usual, name.count("/"), name
