"""The weights in a folder that a registry gave."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from reid_audit.checkpoint.folder import BESIDE, SUFFIXES
from reid_audit.errors import CheckpointError

USUAL = (
    "model.safetensors",
    "models/model.safetensors",
    "models/model.pt",
    "pytorch_model.bin",
    "state_dict.pth",
    "data/model.pth",
    "model.pt",
    "model.pth",
)
"""Names under which libraries publish the network, the safest format first."""


def weights_among(names: Iterable[str], uri: str) -> str:
    """The one name that holds the network: a usual one, else the only safetensors file, else the only one at all.

    Raises CheckpointError that lists what could be meant.
    """
    found = sorted(n for n in names if n.endswith(SUFFIXES) and PurePosixPath(n).name not in BESIDE)
    for usual in USUAL:
        if usual in found:
            return usual
    safe = [name for name in found if name.endswith(".safetensors")]
    likely = safe or found
    if len(likely) == 1:
        return likely[0]
    raise CheckpointError(
        f"{uri} holds {f'{len(likely)} files of weights' if likely else 'no file of weights'}",
        closest=", ".join(likely[:3]) or f"none ends in {', '.join(SUFFIXES)}",
        remedy=f"name one: {uri}/{likely[0]}" if likely else "give the revision or the artifact that has the weights",
    )


def weights_below(folder: Path, uri: str) -> Path:
    """``weights_among`` the files below ``folder``."""
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    return folder / weights_among(names, uri)
