"""From described entries to tensors that can be trusted: dense, finite, fp32 where they were halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reid_audit.checkpoint.inert import StorageSpec, TensorSpec, UnsupportedSpec
from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError

HALVES = frozenset({torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2})
REMEDY = "save dense, finite floating-point weights: torch.save(model.float().state_dict(), 'weights.pt')"
Reader = Callable[[StorageSpec], bytes]


def materialise(entries: dict[str, Any], read: Reader, size: int, limits: Limits) -> dict[str, Tensor]:
    """Tensors of ``entries``; descriptions are checked against their storage before memory is viewed.

    Raises CheckpointError where an entry is no dense tensor, points outside its storage, or all entries together
    would unpack to far more than the file of ``size`` bytes holds.
    """
    if len(entries) > limits.keys:
        raise CheckpointError(
            f"the file names {len(entries)} tensors", closest=f"at most {limits.keys} are read", remedy=REMEDY
        )
    storages: dict[str, Tensor] = {}
    tensors = {}
    left = limits.unpacked(size)
    for key, entry in entries.items():
        tensor = _dense(key, entry if isinstance(entry, Tensor) else _view(key, entry, read, storages))
        left -= tensor.numel() * tensor.element_size()
        if left < 0:
            raise CheckpointError(
                "its tensors unpack to far more than the file's size",
                closest=f"at most {limits.unpacked(size)} bytes for a file of {size}",
                remedy=REMEDY,
            )
        tensors[key] = tensor
    return tensors


def finish(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Check names and values, read halves as fp32. Returns the tensors and whether halves were among them.

    Raises CheckpointError for names with control characters, NaN or infinite values, and no floating tensor.
    """
    for key in tensors:
        if not key or len(key) > 500 or not key.isprintable():
            raise CheckpointError(
                "a tensor's name is empty, overlong or holds control characters",
                closest=f"{len(key)} characters",
                remedy="save the state_dict as the model names it",
            )
    if not any(t.is_floating_point() and t.numel() for t in tensors.values()):
        raise CheckpointError(
            "the file holds no floating-point weights",
            closest=f"{len(tensors)} tensors, all of them integers or empty",
            remedy=REMEDY,
        )
    halves = False
    done = {}
    for key, tensor in tensors.items():
        half = tensor.dtype in HALVES
        halves = halves or half
        value = tensor.float() if half else tensor
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"the weights hold NaN or infinity in {key[:80]}",
                closest=f"{bad} of {value.numel()} values there are not finite",
                remedy="the training diverged or the file is damaged: use an earlier checkpoint",
            )
        done[key] = value
    return done, halves


def _view(key: str, entry: Any, read: Reader, storages: dict[str, Tensor]) -> Tensor:
    if isinstance(entry, UnsupportedSpec):
        raise _refused(key, f"is {entry.kind}")
    if not isinstance(entry, TensorSpec) or not isinstance(entry.storage, StorageSpec):
        raise _refused(key, "has no storage")
    shape, stride, offset = entry.shape, entry.stride, entry.offset
    if not (_sizes(shape) and _sizes(stride) and type(offset) is int and len(shape) == len(stride) and offset >= 0):
        raise _refused(key, "has an impossible shape")
    name = entry.storage.dtype if entry.dtype is None else entry.dtype
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise _refused(key, f"has the unknown dtype {name}")
    handle = f"{entry.storage.key}:{name}"
    if handle not in storages:
        storages[handle] = _buffer(key, read(entry.storage), dtype)
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if 0 in shape:
        return torch.empty(tuple(shape), dtype=dtype)
    if last >= storages[handle].numel():
        raise _refused(key, "reaches outside its storage")
    return storages[handle].as_strided(tuple(shape), tuple(stride), offset)


def _buffer(key: str, data: bytes, dtype: torch.dtype) -> Tensor:
    if len(data) % dtype.itemsize:
        raise _refused(key, "has a storage of broken length")
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _dense(key: str, tensor: Tensor) -> Tensor:
    if tensor.is_meta:
        raise _refused(key, "is meta (no values)")
    if tensor.is_quantized:
        raise _refused(key, "is quantised")
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise _refused(key, "is sparse or nested")
    if tensor.is_complex():
        raise _refused(key, "is complex")
    return tensor.detach()


def _sizes(values: Any) -> bool:
    return isinstance(values, tuple | list) and all(type(v) is int and 0 <= v < 2**62 for v in values)


def _refused(key: str, why: str) -> CheckpointError:
    shown = key[:80] if key.isprintable() else "a tensor"
    return CheckpointError(f"{shown} {why}", closest="dense real tensors with their values are read", remedy=REMEDY)
