"""What stands in for a checkpoint's objects: descriptions of tensors, and placeholders that do nothing.

Nothing here has been checked against the file, and nothing here holds a name's code.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn

from reid_audit.checkpoint.unsafe import unsafe_error


@dataclass(frozen=True, slots=True, eq=False)
class StorageSpec:
    """A storage named by a persistent id: where its bytes are and what they are."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A long text or byte string of the pickle: where it is in the file, unread."""

    start: int
    stop: int
    coding: Literal["raw", "text"]
    """``text``: UTF-8; where it stands for bytes, every character is one byte (Latin-1)."""
    head: str
    """Its first characters, for what looks like a name or a path."""

    def __str__(self) -> str:
        return self.head


@dataclass(frozen=True, slots=True, eq=False)
class ArraySpec:
    """Values written into the pickle itself (numpy): what they are, and the bytes or their place."""

    dtype: str
    content: bytes | Placed


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


class Sealed(type):
    """Placeholder classes cannot be changed by the file, and are called only where they stand for a class."""

    named: str
    callable: bool

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError("the file tries to change a placeholder")

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        if not cls.callable:
            raise unsafe_error((cls.named,))
        return super().__call__(*arguments, **named)


class _State:
    """``__setstate__`` of objects; of the class itself, which the file would change, a refusal."""

    def __get__(self, held: Any, owner: Sealed) -> Callable[[Any], None]:
        def refuse(_state: Any) -> NoReturn:
            raise unsafe_error((f"{owner.named} (to change it)",))

        take: Callable[[Any], None] = refuse if held is None else held.take
        return take


class Harmless:
    """A function of this package in place of one the file names: the file can call it, not change it."""

    __slots__ = ("function", "named")

    def __init__(self, named: str, function: Callable[..., Any]) -> None:
        self.named, self.function = named, function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, _state: Any) -> NoReturn:
        raise unsafe_error((f"{self.named} (to change it)",))


class Ordered(OrderedDict[Any, Any], metaclass=Sealed):
    """``collections.OrderedDict``; attributes it is given (``_metadata``) are dropped."""

    named: ClassVar[str] = "collections.OrderedDict"
    callable: ClassVar[bool] = True
    __setstate__ = _State()

    def take(self, _state: Any) -> None:
        """Ignore attributes."""


class Item(NamedTuple):
    """What an object that is like a dictionary was given."""

    key: Any
    value: Any


class Inert(metaclass=Sealed):
    """Stands in for an object of a foreign class: takes every state and does nothing but keep it."""

    __slots__ = ("held",)
    held: list[Any]
    named: ClassVar[str] = ""
    """The class's dotted name in the file."""
    callable: ClassVar[bool] = True
    __setstate__ = _State()

    def __new__(cls, *arguments: Any, **_named: Any) -> Inert:
        self = object.__new__(cls)
        self.held = list(arguments)
        return self

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        return

    def __call__(self, *_arguments: Any) -> NoReturn:
        raise unsafe_error((f"{type(self).named} (an object of it)",))

    def take(self, state: Any) -> None:
        """Keep a state."""
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
        self.held.append(Item(key, value))

    @property
    def items(self) -> dict[Any, Any]:
        """What an object that is like a dictionary holds."""
        return {part.key: part.value for part in self.held if isinstance(part, Item)}

    @property
    def state(self) -> dict[str, Any]:
        """The attributes the object was given; empty where it was given none."""
        for part in reversed(self.held):
            if isinstance(part, dict):
                return part
        return {}


def placeholder(name: str, *, callable: bool = True) -> Any:
    """An empty class that stands for the global ``name``; unless ``callable``, calling it is a refusal."""
    leaf = name.rpartition(".")[2]
    return Sealed(leaf, (Inert,), {"__slots__": (), "named": name, "callable": callable})


def bound(owner: Any, name: Any = None, *rest: Any) -> Any:
    """``getattr`` as pickle writes methods and nested classes: a placeholder for that part of a placeholder.

    Raises UnsafeCheckpointError for anything else.
    """
    plain = isinstance(name, str) and name.isascii() and name.isidentifier() and not name.startswith("__")
    whole = owner if isinstance(owner, Sealed) else type(owner)
    if rest or not plain or not isinstance(whole, Sealed):
        raise unsafe_error(("builtins.getattr",))
    return placeholder(f"{whole.named}.{name}", callable=name.lstrip("_")[:1].isupper())


def of_elements(owner: Any = None, *_elements: Any) -> Any:
    """``operator.getitem`` as pickle writes ``typing.List[int]``: a placeholder. Raises UnsafeCheckpointError else."""
    if not isinstance(owner, Sealed) or not owner.named.startswith(("typing.", "collections.abc.")):
        raise unsafe_error(("operator.getitem",))
    return placeholder(owner.named)


def partial(function: Any = None, *arguments: Any) -> Any:
    """``functools.partial`` over a placeholder: a placeholder. Raises UnsafeCheckpointError for anything else."""
    if not isinstance(function, Sealed | Inert):
        raise unsafe_error(("functools.partial",))
    return placeholder("functools.partial")(function, *arguments)
