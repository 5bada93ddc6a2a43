"""What every origin gives, and the refusals that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reid_audit.errors import CheckpointError, PolicyError


@dataclass(frozen=True, slots=True)
class Declared:
    """What a bundle says of its network in its own words; nothing of it is run or believed without the weights."""

    network: str = ""
    """Class name of the network, such as ``DenseNet121``."""
    channels: int | None = None
    side: int | None = None
    """Pixels of a square two-dimensional input."""
    values: tuple[float, float] | None = None
    """Smallest and largest value of the network's input."""
    modality: str = ""

    def phrases(self) -> tuple[str, ...]:
        """What is declared, for people."""
        return tuple(
            filter(
                None,
                (
                    f"network {self.network}" if self.network else "",
                    "" if self.channels is None else f"{self.channels} channels",
                    "" if self.side is None else f"{self.side} x {self.side} px",
                    "" if self.values is None else f"values from {self.values[0]:g} to {self.values[1]:g}",
                    self.modality,
                ),
            )
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine."""

    file: Path
    """What is read, safely, as any other file."""
    uri: str = ""
    """Where it came from, with the revision that was taken; empty for what was on this machine before."""
    declared: Declared | None = None


class Fetch(Protocol):
    """How an origin is asked: the URI as it was given, and an empty folder that is removed after the audit.

    Raises PolicyError for a URI that cannot be meant and a missing extra, CheckpointError for what cannot be had.
    """

    def __call__(self, uri: str, folder: Path, /) -> Fetched: ...


def library(name: str, extra: str, scheme: str) -> Any:
    """The client library of an origin. Raises PolicyError where its extra is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise PolicyError(
            f"{scheme} addresses need {name}", closest=str(error), remedy=f"pip install 'reid-audit[{extra}]'"
        ) from error


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """A client that takes its settings from the environment. It gets one for one call where the user has not."""
    stated = os.environ.get(name)
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if stated is None:
            del os.environ[name]


def unreachable(uri: str, error: BaseException, remedy: str) -> CheckpointError:
    """The refusal where a client gave up, with the first line of what it said."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    return CheckpointError(
        f"{uri} cannot be fetched", closest=f"{type(error).__name__}: {said}".rstrip(": "), remedy=remedy
    )
