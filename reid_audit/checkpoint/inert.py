"""A pickle reader that imports nothing and calls nothing from the file.

Dense tensors become descriptions (``TensorSpec``) that are checked before any memory is viewed; listed framework
classes become empty placeholders; every other name is refused.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from reid_audit.checkpoint.globals import DTYPES, REBUILD, STORAGES, UNSUPPORTED, Kind, classify
from reid_audit.checkpoint.scan import unsafe_error

LAZY = "stored with a sign or conjugate bit that has not been applied"


@dataclass(frozen=True, slots=True, eq=False)
class StorageSpec:
    """A storage named by a persistent id: where its bytes are and what they are."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorSpec:
    """A dense tensor as the file describes it; nothing in it has been checked."""

    storage: Any
    offset: Any
    shape: Any
    stride: Any
    dtype: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class UnsupportedSpec:
    """A tensor of a kind that is not read."""

    kind: str


@dataclass(frozen=True, slots=True)
class _Dtype:
    name: str


class _Sealed(type):
    """Placeholder classes cannot be changed by the file."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError("the file tries to change a placeholder")


class Inert(metaclass=_Sealed):
    """Stands in for an object of a foreign class: takes every state and does nothing but keep it."""

    __slots__ = ("held",)
    held: list[Any]

    def __new__(cls, *arguments: Any, **_named: Any) -> Inert:
        self = object.__new__(cls)
        self.held = list(arguments)
        return self

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        return

    def __setstate__(self, state: Any) -> None:
        self.held.append(state)

    def append(self, item: Any) -> None:
        """List-like classes: one item."""
        self.held.append(item)

    def extend(self, items: Any) -> None:
        """List-like classes: many items."""
        self.held.extend(items)

    def add(self, item: Any) -> None:
        """Set-like classes: one item."""
        self.held.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.held.append((key, value))


class InertUnpickler(pickle.Unpickler):
    """Reads one pickle; ``mentioned`` collects the foreign classes that became placeholders."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.mentioned: dict[str, None] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        """The harmless counterpart of a global. Raises UnsafeCheckpointError for unlisted names."""
        full = f"{module}.{name}"
        kind = classify(full)
        if kind is Kind.UNSAFE:
            raise unsafe_error((full,))
        if kind is Kind.FOREIGN:
            self.mentioned[full] = None
            return _Sealed(name, (Inert,), {"__slots__": ()})
        return _safe(full, name)

    def persistent_load(self, pid: Any, /) -> StorageSpec:
        """Describe the storage a persistent id names."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _Dtype):
            raise pickle.UnpicklingError("an unknown kind of persistent id")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a storage that is a view of another one")
        return StorageSpec(dtype=pid[1].name, key=str(pid[2]), numel=int(pid[4]))


def _safe(full: str, name: str) -> Any:
    if full == "collections.OrderedDict":
        return OrderedDict
    if full in REBUILD:
        return _REBUILDERS[name]
    if full in UNSUPPORTED:
        return _unsupported(UNSUPPORTED[full])
    if full == "torch.Size":
        return _size
    if name in STORAGES:
        return _Dtype(STORAGES[name])
    if name in DTYPES:
        return _Dtype(name)
    return _Sealed(name, (Inert,), {"__slots__": ()})


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


def _unsupported(kind: str) -> Callable[..., UnsupportedSpec]:
    def describe(*_arguments: Any) -> UnsupportedSpec:
        return UnsupportedSpec(kind)

    return describe


def _tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any = None, _hooks: Any = None, bits: Any = None
) -> TensorSpec | UnsupportedSpec:
    return UnsupportedSpec(LAZY) if bits else TensorSpec(storage, offset, shape, stride)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, bits: Any = None
) -> TensorSpec | UnsupportedSpec:
    name = dtype.name if isinstance(dtype, _Dtype) else "unknown"
    return UnsupportedSpec(LAZY) if bits else TensorSpec(storage, offset, shape, stride, name)


def _parameter(data: Any, *_rest: Any) -> Any:
    return data


def _from_type(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    if function not in (_tensor, _typed_tensor, _parameter):
        return UnsupportedSpec("of a foreign tensor class")
    return function(*arguments)


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _typed_tensor,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_from_type_v2": _from_type,
}
