"""Everything a file holds, place by place: mappings, lists, and what placeholders keep. Nothing is read or run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reid_audit.checkpoint.inert import Inert, TensorSpec, UnsupportedSpec
from reid_audit.errors import CheckpointError

Path = tuple[str, ...]
DEEPEST = 100
MOST = 200_000
"""Places of a file that are looked at; one object in two places counts twice."""
SCALARS = frozenset({int, float, str, bool, bytes, type(None)})
TRANSPARENT = frozenset({"_modules", "_parameters", "_buffers"})
"""Where a pickled torch module keeps its parts: no part of their names."""


def is_tensor(value: Any) -> bool:
    """True for the description of a tensor."""
    return isinstance(value, TensorSpec | UnsupportedSpec)


def is_held(value: Any) -> bool:
    """True for a tensor and for what can hold one."""
    return is_tensor(value) or holds(value)


def holds(value: Any) -> bool:
    """True for what can hold other values."""
    return isinstance(value, Mapping | list | tuple | set | frozenset | Inert)


def items(node: Any) -> Iterator[tuple[Path, Any]]:
    """Tensors and containers in ``node``, each with what it adds to the path of ``node``: one name, or none.

    Raises CheckpointError where two of a dictionary's names read alike.
    """
    if isinstance(node, Mapping):
        held = [(str(key), value) for key, value in node.items() if type(value) not in SCALARS and is_held(value)]
        if len({name for name, _ in held}) < len(held):
            raise unclear("two names in a dictionary read alike")
        yield from (((name,) if name not in TRANSPARENT else (), value) for name, value in held)
    elif isinstance(node, Inert):
        for number, value in enumerate(node.held):
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
                yield (value[0],), value[1]  # an item of a mapping
            else:
                yield (() if len(node.held) == 1 else (str(number),)), value
    elif isinstance(node, list | tuple | set | frozenset):
        yield from (((str(n),), value) for n, value in enumerate(node) if type(value) not in SCALARS)


def fertile(document: Any) -> frozenset[int]:
    """``id`` of every container in ``document`` with a tensor somewhere below it; ``document`` may hold cycles."""
    above: dict[int, list[int]] = {}
    found: set[int] = set()
    stack, seen = [document], {id(document)}
    while stack:
        node = stack.pop()
        for _, value in items(node):
            if is_tensor(value):
                found.add(id(node))
            elif holds(value):
                above.setdefault(id(value), []).append(id(node))
                if id(value) not in seen:
                    seen.add(id(value))
                    stack.append(value)
    return frozenset(_upwards(found, above))


def _upwards(found: Iterable[int], above: Mapping[int, list[int]]) -> set[int]:
    reached = set(found)
    stack = list(reached)
    while stack:
        for parent in above.get(stack.pop(), ()):
            if parent not in reached:
                reached.add(parent)
                stack.append(parent)
    return reached


def unclear(what: str) -> CheckpointError:
    """The refusal of a document that cannot be looked through to its last tensor."""
    return CheckpointError(
        f"not every tensor of the file can be told from the others: {what}",
        closest="a dictionary from names to tensors is read, also inside other dictionaries and lists",
        remedy="torch.save(model.state_dict(), 'weights.pt')",
    )
