"""A pickle reader that imports nothing and calls nothing from the file.

Dense tensors and numpy arrays become descriptions that are checked before any memory is viewed; classes become empty
placeholders; a function that the file calls, and every name that could run something, is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reid_audit.checkpoint import arrays
from reid_audit.checkpoint.globals import (
    DTYPES,
    NUMPY,
    REBUILD,
    STORAGES,
    UNSUPPORTED,
    Kind,
    PickledCode,
    classify,
    constructs,
    modern,
)
from reid_audit.checkpoint.inert import (
    Harmless,
    Inert,
    Ordered,
    Placed,
    Sealed,
    StorageSpec,
    TensorSpec,
    UnsupportedSpec,
    bound,
    of_elements,
    partial,
    placeholder,
)
from reid_audit.checkpoint.unsafe import unsafe_error

LAZY = "stored with a sign or conjugate bit that has not been applied"


@dataclass(frozen=True, slots=True)
class _Dtype:
    name: str


class InertUnpickler(pickle.Unpickler):
    """Reads one pickle whose long texts ``placed`` names; collects the names that became placeholders."""

    def __init__(self, programme: bytes, placed: Sequence[Placed] = (), pickled_code: PickledCode = "refuse") -> None:
        super().__init__(io.BytesIO(programme), encoding="latin-1")
        self.placed = placed
        self.pickled_code = pickled_code
        self.mentioned: dict[str, None] = {}
        """Listed data and configuration."""
        self.code: dict[str, None] = {}
        """Everything else that is never imported or called."""

    def find_class(self, module: str, name: str, /) -> Any:
        """The harmless counterpart of a global. Raises UnsafeCheckpointError where there is none."""
        full = f"{module}.{name}"
        kind = classify(full)
        if kind is Kind.UNSAFE or (kind in (Kind.CODE, Kind.BINDING) and self.pickled_code == "refuse"):
            raise unsafe_error((full,))
        if kind is Kind.SAFE:
            return _safe(modern(full))
        if kind is Kind.BINDING:
            return _BINDINGS[modern(full)]
        if kind is Kind.FOREIGN:
            self.mentioned[full] = None
            return _RECONSTRUCTOR if modern(full) == _RECONSTRUCTOR.named else placeholder(full)
        self.code[full] = None
        return placeholder(full, callable=constructs(full))

    def persistent_load(self, pid: Any, /) -> Any:
        """Describe the storage a persistent id names; numbers stand for texts that stayed in the file."""
        if type(pid) is int and 0 <= pid < len(self.placed):
            return self.placed[pid]
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Sealed):
            return pid[1]
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _Dtype):
            raise pickle.UnpicklingError("an unknown kind of persistent id")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a storage that is a view of another one")
        return StorageSpec(dtype=pid[1].name, key=str(pid[2]), numel=int(pid[4]))


def _safe(full: str) -> Any:
    if full in _STAND_INS:
        return _STAND_INS[full]
    name = full.rpartition(".")[2]
    if full in UNSUPPORTED:
        return _unsupported(full)
    if name in STORAGES:
        return _Dtype(STORAGES[name])
    if name in DTYPES:
        return _Dtype(name)
    return placeholder(full)


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


def _reconstructor(kind: Any = None, *_base_and_state: Any) -> Any:
    """How protocols 0 and 1 begin an object."""
    if not isinstance(kind, type) or not issubclass(kind, Inert):
        raise pickle.UnpicklingError("an object of no class")
    return Inert.__new__(kind)


def _unsupported(full: str) -> Harmless:
    return Harmless(full, lambda *_arguments: UnsupportedSpec(UNSUPPORTED[full]))


def _tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any = None, _hooks: Any = None, bits: Any = None
) -> TensorSpec | UnsupportedSpec:
    return UnsupportedSpec(LAZY) if bits else TensorSpec(storage, offset, shape, stride)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, bits: Any = None
) -> TensorSpec | UnsupportedSpec:
    """What ``torch._utils._rebuild_tensor_v3`` makes: it has that function's parameters because pickles call it so."""
    name = dtype.name if isinstance(dtype, _Dtype) else "unknown"
    return UnsupportedSpec(LAZY) if bits else TensorSpec(storage, offset, shape, stride, name)


def _parameter(data: Any, *_rest: Any) -> Any:
    return data


def _from_type(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    if not isinstance(function, Harmless) or function.function not in (_tensor, _typed_tensor, _parameter):
        return UnsupportedSpec("of a foreign tensor class")
    return function(*arguments)


def _of_class(_class: Any, storage: Any, offset: Any, shape: Any, stride: Any, *_rest: Any) -> TensorSpec:
    """fastai's tensors: the class comes first, attributes may follow."""
    return TensorSpec(storage, offset, shape, stride)


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _typed_tensor,
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_xla_tensor": _parameter,
    "_rebuild_device_tensor_from_numpy": _parameter,
    "_rebuild_device_tensor_from_cpu_tensor": _parameter,
    "_rebuild_from_type": _from_type,
    "_rebuild_from_type_v2": _from_type,
    "_fa_rebuild_tensor": _of_class,
    "dtype": arrays.NumpyDtype,
    "_reconstruct": arrays.reconstruct,
    "scalar": arrays.scalar,
    "_frombuffer": arrays.from_buffer,
    "encode": arrays.encode,
    "bytes": arrays.byte_string,
    "bytearray": arrays.byte_string,
    "Size": _size,
}
"""Last part of a listed name -> the harmless version."""
_STAND_INS: dict[str, Any] = {
    "collections.OrderedDict": Ordered,
    **{name: Harmless(name, _REBUILDERS[name.rpartition(".")[2]])
       for name in (*REBUILD, *NUMPY, "_codecs.encode", "builtins.bytes", "builtins.bytearray", "torch.Size")},
}  # fmt: skip
_BINDINGS = {
    "builtins.getattr": Harmless("builtins.getattr", bound),
    "functools.partial": Harmless("functools.partial", partial),
    "operator.getitem": Harmless("operator.getitem", of_elements),
    "_operator.getitem": Harmless("operator.getitem", of_elements),
}
_RECONSTRUCTOR = Harmless("copyreg._reconstructor", _reconstructor)
