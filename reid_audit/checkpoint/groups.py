"""Every group of tensors in a file that is shaped like a network, anywhere in the nesting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from reid_audit.checkpoint.inert import TensorSpec
from reid_audit.checkpoint.shapes import AVERAGES, WEIGHTS, Shape, is_matrix, kept_beside, networklike
from reid_audit.checkpoint.walk import DEEPEST, MOST, Path, fertile, holds, is_tensor, items, unclear

PARTS = frozenset({"backbone", "encoder", "decoder", "head", "classifier", "neck", "fc", "projector"})
"""Dictionaries of these names side by side are one network."""
BOOKKEEPING = frozenset({"n_averaged"})


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Tensors of one network, and where in the file they are."""

    path: Path
    entries: dict[str, Any]
    """Names below ``path`` -> descriptions, in file order."""


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """What a file holds beside the tensors that were taken already."""

    groups: tuple[Group, ...]
    loose: dict[str, Any]
    """Tensors in no group, with their full names; optimiser moments are not among them."""


@dataclass(slots=True, eq=False)
class _Found:
    """What is below one container."""

    groups: list[Group] = field(default_factory=list)
    loose: dict[str, Any] = field(default_factory=dict)
    """Named relative to the container."""


def census(document: Any, taken: frozenset[Path] = frozenset()) -> Census:
    """Groups of tensors shaped like networks, in file order, and what is left.

    A dictionary with the tensors of a network is a group; so is a whole network whose every layer has a dictionary of
    its own. ``taken`` are full paths of tensors that belong to a group already. What an optimiser keeps for each
    parameter is left out, unless it is an average of the weights. Raises CheckpointError where the nesting is too deep.
    """
    walker = _Walker(fertile(document), taken)
    own, children = walker.below(document, (), optimiser=False)
    found = _joined((), own, children)
    if not taken and not found.groups and networklike(shapes_of(found.loose)):
        return Census((Group((), found.loose),), {})
    loose = dict(own)
    for name, below in children.items():
        left = {key: value for key, value in below.loose.items() if ".".join(filter(None, (name, key))) in found.loose}
        if networklike(shapes_of(left)):
            found.groups.append(Group((name,) if name else (), left))
        else:
            _add(loose, _under(name, left))
    return Census(tuple(found.groups), {key: value for key, value in loose.items() if key in found.loose})


def mirrors(entries: Mapping[str, Any], loose: Mapping[str, Any]) -> list[Group]:
    """Sets of loose tensors with the names and shapes of ``entries`` behind a prefix of their own."""
    shapes, known = shapes_of(entries), shapes_of(loose)
    first = next(iter(shapes), "")
    found = [name.removesuffix("." + first) for name in known if name.endswith("." + first)]
    return [
        Group((prefix,), {key: loose[f"{prefix}.{key}"] for key in shapes})
        for prefix in found
        if all(known.get(f"{prefix}.{key}") == shape for key, shape in shapes.items())
    ]


def shapes_of(entries: Mapping[str, Any]) -> dict[str, Shape]:
    """Shapes of floating-point tensors, of small integers, and of what cannot be read (which counts as a matrix)."""
    return {name: shape for name, value in entries.items() if (shape := _shape(value))}


def _shape(value: Any) -> Shape:
    if not isinstance(value, TensorSpec):
        return (2, 2)
    sizes = value.shape if isinstance(value.shape, tuple | list) else ()
    if not dtype_of(value).startswith(("float", "bfloat", "int8", "uint8")) or any(type(n) is not int for n in sizes):
        return ()
    return tuple(sizes)


def dtype_of(value: Any) -> str:
    """torch's name of a described tensor's dtype; empty where it has none."""
    if not isinstance(value, TensorSpec):
        return ""
    return str(value.dtype if value.dtype is not None else getattr(value.storage, "dtype", ""))


def could_be_weights(loose: Mapping[str, Any], entries: Mapping[str, Any]) -> list[str]:
    """Names of ``loose`` tensors with rows and columns that could belong to the network with ``entries``.

    Moments, gradients and memory banks could not; nor could double precision, in which logs are kept, unless the
    network has it too.
    """
    doubles = any(dtype_of(value) == "float64" for value in entries.values())
    return [
        name
        for name, shape in shapes_of(loose).items()
        if is_matrix(shape) and not kept_beside(name) and (doubles or dtype_of(loose[name]) != "float64")
    ]


@dataclass(slots=True, eq=False)
class _Walker:
    fertile: frozenset[int]
    taken: frozenset[Path]
    open: set[int] = field(default_factory=set)
    """Containers on the way to the present one: a cycle ends at them."""
    visits: int = 0

    def gather(self, node: Any, path: Path, *, optimiser: bool) -> _Found:
        """Groups at and below ``node``, and what is left."""
        return _joined(path, *self.below(node, path, optimiser=optimiser))

    def below(self, node: Any, path: Path, *, optimiser: bool) -> tuple[dict[str, Any], dict[str, _Found]]:
        """Tensors right in ``node``, and what its children hold."""
        self.visits += 1
        if len(self.open) > DEEPEST or self.visits > MOST:
            raise unclear(f"nested {len(self.open)} levels deep, {self.visits} places")
        optimiser = optimiser or is_optimiser_state(node)
        self.open.add(id(node))
        own, children = dict[str, Any](), dict[str, _Found]()
        for names, value in items(node):
            step, place = "".join(names), (*path, *names)
            if is_tensor(value):
                if place not in self.taken and not _skipped(step, optimiser=optimiser):
                    own[step] = value
            elif holds(value) and id(value) in self.fertile and id(value) not in self.open:
                found, known = self.gather(value, place, optimiser=optimiser), children.setdefault(step, _Found())
                known.groups += found.groups
                _add(known.loose, found.loose)
        self.open.discard(id(node))
        return own, children


def is_optimiser_state(node: Any) -> bool:
    """Whether a dictionary is what ``optimizer.state_dict()`` gives."""
    return isinstance(node, Mapping) and {"state", "param_groups"} <= {str(key) for key in node}


def _skipped(name: str, *, optimiser: bool) -> bool:
    """Whether a tensor is a count, or what an optimiser keeps for a parameter and no average of it."""
    return name in BOOKKEEPING or (optimiser and name.rpartition(".")[2] not in WEIGHTS | AVERAGES)


def _joined(path: Path, own: dict[str, Any], children: Mapping[str, _Found]) -> _Found:
    """A container's own tensors with what is below it. Parts side by side, or tensors enough, become a group."""
    groups = [group for below in children.values() for group in below.groups]
    parts = {name: below for name, below in children.items() if name in PARTS and below.groups}
    if not own and sum(name in PARTS for name in children) == 1:
        parts = {}
    if parts or networklike(shapes_of(own)):
        beside = {name: below for name, below in children.items() if parts and name in PARTS}
        taken = {name: max(below.groups, key=lambda group: len(group.entries)) for name, below in parts.items()}
        entries = dict(own)
        for name, below in beside.items():
            _add(entries, _under(name, below.loose))
            _add(entries, _under(name, taken[name].entries if name in taken else {}))
        groups = [Group(path, entries), *(group for group in groups if group not in taken.values())]
        own, children = {}, {name: below for name, below in children.items() if name not in beside}
    loose = dict(own)
    for name, below in children.items():
        _add(loose, _under(name, below.loose))
    return _Found(groups, loose)


def _add(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add ``more``; a name that is there already (``a.b`` + ``c`` and ``a`` + ``b.c``) gets a number."""
    for name, value in more.items():
        numbered = (f"{name} {k}" for k in range(2, MOST))
        known[next(n for n in chain((name,), numbered) if n not in known)] = value


def _under(name: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    return {".".join(filter(None, (name, key))): value for key, value in entries.items()}
