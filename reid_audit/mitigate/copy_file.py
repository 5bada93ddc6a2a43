"""The mitigated copy as a safetensors file that holds one network and nothing else, and runs as the copy did."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from reid_audit.arch.identify import identify
from reid_audit.atomic import write_atomically
from reid_audit.checkpoint import load_checkpoint
from reid_audit.errors import ArchitectureError, MitigationError
from reid_audit.mitigate.interface import Copy
from reid_audit.network.answers import outputs_of

CLOSE = 1e-3
"""Largest difference of an output, as a share of the largest output, that reading the file back may make."""


def write_copy(found: Copy, path: Path, *, name: str | None = None, factory: str | None = None) -> None:
    """Write the copy and read it back. The file appears whole or not at all.

    name, factory: ``--arch`` and ``--arch-factory`` of the original. Raises MitigationError where the file read
    back is another network.
    """
    state = {key: _stored(value, found.dtype) for key, value in found.target.module.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(state))
    try:
        _read_back(found, path, name, factory)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    value = value.detach().cpu().contiguous().clone()
    return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def _read_back(found: Copy, path: Path, name: str | None, factory: str | None) -> None:
    match = found.target.match
    tensors = load_checkpoint(path).tensors
    try:
        again = identify(tensors, side=match.side, name=name, factory=factory)
    except ArchitectureError as error:
        raise MitigationError(
            "the copy would no longer be recognised as a network",
            closest=f"{error.what} ({error.closest})",
            remedy="leave the last mitigation out, or audit the copy with --arch-factory",
        ) from error
    probe = torch.rand(2, match.channels, match.side, match.side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = outputs_of(found.target.module.cpu()(probe))
        read = outputs_of(again.module(probe))
    apart = float((made - read).abs().max()) if made.shape == read.shape else float("inf")
    if not apart <= CLOSE * max(1.0, float(made.abs().max())):
        raise MitigationError(
            f"the copy read back from its file is another network: outputs differ by {apart:.3g}",
            closest=f"{again.match.name}, side {match.side}",
            remedy="leave the last mitigation out, and report it",
        )
