"""Prior files: safetensors with the card in the metadata. Nothing in them can run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_audit.atomic import write_atomically
from reid_audit.errors import PriorError, UnsafeCheckpointError
from reid_audit.records import PriorCard

FORMAT = "reid-audit-prior-1"
KEY = "reid_audit"
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How torch's archives and bare pickles begin; a safetensors file begins with the length of its header."""


@dataclass(frozen=True, slots=True, eq=False)
class PriorFile:
    """A prior file as read: tensors, metadata and the digest of the bytes."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str

    def card(self) -> PriorCard:
        """The card written by ``write_prior``, with this file's digest. Raises PriorError where it is damaged."""
        try:
            return PriorCard.model_validate({**json.loads(self.metadata["card"]), "sha256": self.sha256})
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise PriorError(
                "the prior file's card cannot be read",
                closest=f"metadata keys {', '.join(sorted(self.metadata)) or '(none)'}",
                remedy="write the file again with 'reid-audit prior fit' or 'reid-audit prior train'",
            ) from error


def write_prior(path: Path, tensors: dict[str, Tensor], card: PriorCard, **metadata: str) -> None:
    """Write tensors and card atomically: a reader sees the old file or the new one, never a part."""
    fields = card.model_dump(mode="json", exclude={"sha256", "overlap"})
    write_tensors(path, tensors, format=FORMAT, kind=card.kind, card=json.dumps(fields, sort_keys=True), **metadata)


def write_tensors(path: Path, tensors: dict[str, Tensor], **header: str) -> None:
    """Write tensors with ``header`` as metadata under our key, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry only: safetensors writes several in no fixed order, and equal content should be equal files.
    write_atomically(path, save(plain, metadata={KEY: json.dumps(header, sort_keys=True)}))


def read_prior_file(path: Path, *, noun: str = "prior") -> PriorFile:
    """Read any safetensors file, called ``noun`` in refusals. Raises PriorError where it is missing or is not one,
    UnsafeCheckpointError for a pickle, which is not opened."""
    _refuse_pickle(path)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(str(path), framework="pt") as handle:
            metadata = _header(handle.metadata() or {})
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise PriorError(
            f"the {noun} {path.name} cannot be read as safetensors",
            closest=str(error),
            remedy=f"give a .safetensors {noun}; convert other files with safetensors.torch.save_file",
        ) from error
    return PriorFile(tensors, metadata, digest)


def _refuse_pickle(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError:
        return  # said by the reader below
    if start.startswith(PICKLES) and not start.endswith(b"{"):  # a header of 640 bytes begins as a pickle does
        raise UnsafeCheckpointError(
            f"the prior {path.name} is a pickle, which can run code when it is read",
            closest="priors are read from safetensors only",
            remedy="where you trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'prior"
            ".safetensors'), with the generator's state_dict alone",
        )


def _header(metadata: dict[str, str]) -> dict[str, str]:
    """The fields under our key as text; files of others keep their own metadata."""
    try:
        fields = json.loads(metadata.get(KEY, ""))
    except ValueError:
        return metadata
    return {str(k): str(v) for k, v in fields.items()} if isinstance(fields, dict) else metadata


def tensor_digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, for a prior that is not in a file yet."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
