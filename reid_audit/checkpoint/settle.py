"""What a pickle held, once it is read: arrays become tensors, pickled modules their state_dicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reid_audit.checkpoint.arrays import NumpyArray
from reid_audit.checkpoint.inert import Inert, Placed, TensorSpec

ATTRIBUTES = "(attributes)"
MODULE = ("_parameters", "_buffers", "_modules")
MODULES, DEPTH, TENSORS = 100_000, 200, 100_000
"""Of one pickled network: modules visited, modules inside each other, tensors."""


def settle(document: Any) -> Any:
    """Replace, wherever they are: arrays by tensors or texts, modules by state_dicts, long texts by their beginning.

    A document that is an object becomes its attributes where those hold a network. Numbers of numpy count as tensors
    only beside others: alone they are a best score or an epoch.
    """
    whole = [_attributes(document)]
    stack: list[Any] = [whole]
    seen: set[int] = set()
    kept: list[Any] = []  # an id counts only while its object lives
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        kept.append(node)
        beside = isinstance(node, dict) and any(_has_axes(value) for value in node.values())
        for key, value in _items(node):
            new = _settled(value, beside)
            if new is not value and not isinstance(node, tuple):
                (node.held if isinstance(node, Inert) else node)[key] = new
            if isinstance(new, dict | list | tuple | Inert):
                stack.append(new)
    return whole[0]


def is_module(value: Any) -> bool:
    """Whether this stands for a pickled ``torch.nn.Module``."""
    return isinstance(value, Inert) and all(isinstance(value.state.get(part), Mapping) for part in MODULE)


def state_dict(module: Inert) -> dict[str, Any]:
    """What ``module.state_dict()`` would give: parameters and persistent buffers by dotted names, in its order."""
    found: dict[str, Any] = {}
    stack: list[tuple[str, Inert, frozenset[int]]] = [("", module, frozenset())]
    for _ in range(MODULES):
        if not stack or len(found) > TENSORS:
            break
        prefix, node, above = stack.pop()
        state = node.state
        passing = _names(state.get("_non_persistent_buffers_set"))
        own = {**state["_parameters"], **{k: v for k, v in state["_buffers"].items() if k not in passing}}
        found.update({f"{prefix}{name}": value for name, value in own.items() if value is not None})
        inner = frozenset((*above, id(node)))
        children = [(name, child) for name, child in state["_modules"].items() if is_module(child)]
        if len(above) < DEPTH:
            stack += [(f"{prefix}{k}.", child, inner) for k, child in reversed(children) if id(child) not in inner]
    return found


def _settled(value: Any, beside: bool) -> Any:
    if isinstance(value, NumpyArray):
        return value.described() if value.rank or beside else value
    if isinstance(value, Placed):
        return value.head
    if is_module(value):
        return state_dict(value)
    return _table(value) if isinstance(value, Inert) else value


def _table(value: Inert) -> Any:
    """An object that is like a dictionary as one, its attributes under a name of their own."""
    items = value.items
    return {**items, **({ATTRIBUTES: value.state} if value.state else {})} if items else value


def _attributes(document: Any) -> Any:
    """The attributes of an object that holds a network in one of them, such as a learner or a trainer; or its items."""
    if isinstance(document, list | tuple):
        inner = [part for value in document for part in (value, *_values(value))]
        networks = any(is_module(part) for part in inner) or any(map(_has_axes, inner[len(document) :]))
        return {str(n): value for n, value in enumerate(document)} if networks else document
    if not isinstance(document, Inert) or is_module(document) or document.items:
        return document
    inner = [part for value in document.state.values() for part in (value, *_values(value))]
    return document.state if any(is_module(part) or _has_axes(part) for part in inner) else document


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value.values()) if isinstance(value, Mapping) else ()


def _has_axes(value: Any) -> bool:
    if isinstance(value, TensorSpec):
        return isinstance(value.shape, tuple | list) and len(value.shape) > 0
    return isinstance(value, NumpyArray) and value.rank > 0


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict):
        return iter(tuple(node.items()))
    return iter(tuple(enumerate(node.held if isinstance(node, Inert) else node)))


def _names(passing: Any) -> frozenset[str]:
    """Names in a set, or in the placeholder of one."""
    listed = passing.held[0] if isinstance(passing, Inert) and passing.held else passing
    return frozenset(map(str, listed)) if isinstance(listed, list | tuple | set | frozenset) else frozenset()
