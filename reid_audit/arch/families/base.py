"""What a family of networks is: how its keys are recognised, and what is read off them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isqrt
from typing import Any, Literal

from torch import Tensor, nn

from reid_audit.arch import tokens
from reid_audit.arch.near import FACTORY, other_input
from reid_audit.errors import ArchitectureError

Config = Mapping[str, Any]
HeadKind = Literal["softmax", "sigmoid", "regression", "segmentation", "features"]


def _numerical(key: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in key.split(".")]


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a family reads from: entries under the family's prefix, what lies beside them, and what is known besides."""

    own: dict[str, Tensor]
    beside: dict[str, Tensor]
    config: Config
    """The config.json beside the file, or empty."""
    side: int | None
    """Pixels of the square input, where the policy says so."""
    integers: frozenset[str] = frozenset()
    """The file's entries that hold no weights, by the last part of their names."""

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an own entry. Raises KeyError."""
        return tuple(self.own[key].shape)

    def ordered(self) -> list[str]:
        """Own keys with numbers in numerical order: files are often sorted by letters."""
        return sorted(self.own, key=_numerical)

    def count(self, pattern: str) -> int:
        """1 + the largest number that the group of ``pattern`` takes over the own keys; 0 where none fits."""
        numbers = [int(m.group(1)) for key in self.own if (m := re.match(pattern, key))]
        return 1 + max(numbers, default=-1)

    def has(self, pattern: str) -> bool:
        """Whether some own key starts with ``pattern``."""
        return any(re.match(pattern, key) for key in self.own)

    def number(self, name: str, default: int) -> int:
        """A positive integer of the configuration, or ``default``."""
        value = self.config.get(name)
        return value if type(value) is int and value > 0 else default

    def real(self, name: str, default: float) -> float:
        """A positive number of the configuration, or ``default``."""
        value = self.config.get(name)
        return float(value) if isinstance(value, int | float) and value > 0 else default


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """A network of a family: what builds it, the weights it takes, and what they say."""

    name: str
    build: Callable[[], nn.Module]
    state: dict[str, Tensor]
    """Entries as the built module names them."""
    used: int
    """Entries of the file that are explained by ``state``."""
    channels: int
    classes: int
    head: HeadKind
    side: int
    from_weights: bool = False
    """Whether the side follows from position embeddings."""
    evidence: tuple[str, ...] = ()
    select: Callable[[Any], Tensor] | None = None
    """Picks the tensor that is audited out of the module's output."""
    optional: str = "(?!)"
    """Regular expression of the module's entries that the file need not hold (unused, or shared with another)."""
    dropped: str = "(?!)"
    """Regular expression of own keys that this output does without."""
    known: str = "(?!)"
    """Regular expression of keys beside the network that this output does without, as its evidence says."""
    unused: tuple[str, ...] = ()
    """The file's keys that the network does not run."""
    doubts: tuple[str, ...] = ()
    """Why the network may not be the one that was trained."""
    open: tuple[str, ...] = ()
    """Doubts that the family's name in ``--arch`` settles."""


@dataclass(frozen=True, slots=True)
class Family:
    """Networks that share one way of naming keys."""

    library: str
    name: str
    anchors: tuple[str, ...]
    """Regular expressions; each has to fit a whole key. The first also finds the prefix."""
    read: Callable[[Given], Recipe]
    package: str | None = None
    """Package that is needed to build it, beyond what reid-audit depends on."""
    extra: str | None = None
    """The optional extra of reid-audit that brings ``package``."""
    absent: tuple[str, ...] = field(default=())
    """Regular expressions that must fit no own key."""

    @property
    def label(self) -> str:
        """``library/name``, as ``--arch`` takes it."""
        return f"{self.library}/{self.name}"

    def prefix(self, keys: Iterable[str]) -> str | None:
        """The prefix under which the anchors are found, the shortest if there are several."""
        table = list(keys)
        text = "\n".join(table)
        if not all(literal(anchor) in text for anchor in self.anchors):
            return None
        first = re.compile(r"((?:[^.]+\.)*?)" + self.anchors[0])
        hint = literal(self.anchors[0])
        found = {m.group(1) for key in table if hint in key and (m := first.fullmatch(key))}
        for prefix in sorted(found, key=len):
            if self._holds([key[len(prefix) :] for key in table if key.startswith(prefix)]):
                return prefix
        return None

    def _holds(self, own: list[str]) -> bool:
        wanted = all(any(re.fullmatch(anchor, key) for key in own) for anchor in self.anchors)
        return wanted and not any(re.match(pattern, key) for pattern in self.absent for key in own)


@cache
def literal(pattern: str) -> str:
    """The longest word that everything ``pattern`` fits must hold: looking for it is faster than the pattern."""
    plain = re.sub(r"\([^()]*\)\??", " ", pattern)
    return max(re.findall(r"\w+", plain), key=len, default="")


def head_kind(classes: int) -> HeadKind:
    """What a classifier with that many outputs is called."""
    return "features" if classes == 0 else "sigmoid" if classes == 1 else "softmax"


def flat_only(given: Given, label: str) -> None:
    """Raises ArchitectureError for networks over volumes: audits compare two-dimensional films."""
    error = other_input(given.own, label=label)
    if error is not None:
        raise error


def attention_heads(given: Given, width: int, evidence: list[str], name: str = "num_attention_heads") -> int:
    """Heads by the configuration, else one per 64 channels: their number is in no shape."""
    known = given.number(name, 0)
    if known:
        return known
    return tokens.attention_heads(width, evidence)


def square(count: int, what: str) -> int:
    """Side of a square grid of ``count`` places. Raises ArchitectureError where it is none."""
    side = isqrt(count)
    if side * side != count:
        raise ArchitectureError(
            "the position embeddings are not those of a square image", closest=f"{count} {what}", remedy=FACTORY
        )
    return side


Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def rename(own: Mapping[str, Tensor], rules: Iterable[Rule]) -> dict[str, Tensor]:
    """Keys rewritten by every rule in turn (regular expression, replacement)."""
    table = [(re.compile(pattern), new) for pattern, new in rules]
    done = {}
    for key, value in own.items():
        for pattern, new in table:
            key = pattern.sub(new, key)
        done[key] = value
    return done
