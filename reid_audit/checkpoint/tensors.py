"""From places in the file to torch tensors: the last step, after nothing is left to refuse."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor

from reid_audit.checkpoint.layout import Entry, contiguous, is_half, refused, unfolded
from reid_audit.errors import CheckpointError

BLOCK = 2**22
"""Bytes of a coded text that are decoded at a time."""


def read_tensors(descriptor: int, entries: Iterable[Entry]) -> dict[str, Tensor]:
    """Tensors from the open file, on the CPU, contiguous, each with memory of its own; halves as fp32.

    Raises CheckpointError where the file has become shorter or other, or this torch does not know a dtype.
    """
    return {entry.key: _tensor(descriptor, entry) for entry in entries}


def _tensor(descriptor: int, entry: Entry) -> Tensor:
    dtype = getattr(torch, entry.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise refused(entry.key, f"has the dtype {entry.dtype}, which torch {torch.__version__} does not know")
    if not entry.values:
        return torch.empty(entry.shape, dtype=torch.float32 if is_half(entry.dtype) else dtype)
    flat = torch.frombuffer(_content(descriptor, entry), dtype=dtype)
    plain = entry.stride == contiguous(entry.shape)
    stored = flat.view(entry.shape) if plain else flat.as_strided(entry.shape, entry.stride).contiguous()
    return stored.float() if is_half(entry.dtype) else stored


def _content(descriptor: int, entry: Entry) -> bytearray:
    if not entry.coding:
        return _bytes(descriptor, entry.start, entry.span)
    stops = range(entry.start, entry.stop, BLOCK)
    stored = (bytes(_bytes(descriptor, at, min(BLOCK, entry.stop - at))) for at in stops)
    return bytearray().join(unfolded(entry, stored))


def _bytes(descriptor: int, start: int, count: int) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    done = 0
    while done < count:
        got = os.preadv(descriptor, [view[done:]], start + done)
        if got == 0:
            raise CheckpointError("the file changed while it was read", closest="it became shorter", remedy="try again")
        done += got
    return buffer
