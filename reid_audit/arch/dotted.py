"""Names of tensors as paths of modules: what they share, where they part, what belongs to a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from reid_audit.arch.canonical import plain

Tensors = Mapping[str, Tensor]


def dotted(tensors: Tensors) -> Tensors:
    """``tensors`` with the slashes that Flax and TensorFlow put between the parts of a name as dots."""
    names = {key: key.replace("/", ".") for key in tensors}
    return {names[k]: v for k, v in tensors.items()} if len(set(names.values())) == len(names) else tensors


def parts_of(tensors: Tensors, shared: str) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first part of their names behind ``shared``, which they all have."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        parts.setdefault(key[len(shared) :].partition(".")[0], {})[key] = value
    return parts


def common(keys: Iterable[str]) -> str:
    """The leading dotted parts that all keys share, with the last dot."""
    table = list(keys)
    shared = ""
    while table:
        first, dot, _ = table[0][len(shared) :].partition(".")
        if not dot or not all(key.startswith(f"{shared}{first}.") for key in table):
            break
        shared += first + dot
    return shared


def left_of(tensors: Tensors, unused: Iterable[str]) -> dict[str, Tensor]:
    """Tensors that a network does not run, with the counters and the parts of folded weights of their modules."""
    left = set(unused)
    spelled = {key: plain(key) for key in tensors}
    names = set(spelled.values())
    modules = {_module(name) for name in left}
    run = {_module(spelled[k]) for k, v in tensors.items() if v.is_floating_point() and spelled[k] not in left}
    folded = {module for module in modules if f"{module}.weight" in left and f"{module}.weight" not in names}

    def belongs(name: str) -> bool:
        above = _above(name)
        nearest = next((module for module in above if module in modules | run), None)
        return nearest in modules - run or any(module in folded for module in above)

    return {key: tensors[key] for key, name in spelled.items() if name in left or belongs(name)}


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _above(name: str) -> list[str]:
    """The modules that hold ``name``, the nearest first."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
