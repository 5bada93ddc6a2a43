"""Where the films of a source are put while it is read: in memory, or on disk (filmstore.py)."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor

from reid_audit.cohort.assemble import Films, in_order
from reid_audit.cohort.frame import Frame
from reid_audit.cohort.rendered import Rendered, unpack
from reid_audit.cohort.segment import Entry
from reid_audit.cohort.source import Row


class Shelf(Protocol[Films]):
    """Films in the order in which they are taken or added. As a context: what was added is kept when it ends."""

    def expect(self, count: int) -> None:
        """Make room for at most so many films, which are about to come."""

    def unsure(self, row: Row) -> bool:
        """Whether nobody knows that the file of ``row`` holds no floats."""

    def has(self, row: Row, *, as_seen: bool) -> bool:
        """Whether ``row``'s film is there, and its file unchanged."""

    def take(self, row: Row, *, as_seen: bool) -> Entry | None:
        """``row``'s film as the next one; None where it is damaged."""

    def add(self, row: Row, film: Rendered, *, as_seen: bool) -> None:
        """``film`` of ``row`` as the next one. Raises CohortError where there is no room for it."""

    def arranged(self, order: list[int]) -> Films:
        """The first of them, as many as ``order`` holds, in that order."""

    def notes(self) -> tuple[str, ...]:
        """What whoever gave the films should know of films kept before."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Held:
    """Films in memory, as one tensor."""

    def __init__(self, frame: Frame) -> None:
        self._images = torch.empty(0, frame.channels, frame.side, frame.side)
        self._count = 0

    def expect(self, count: int) -> None:
        """Make room for so many films."""
        self._images = torch.empty(count, *self._images.shape[1:])

    def unsure(self, row: Row) -> bool:
        """Nothing was kept before."""
        return True

    def has(self, row: Row, *, as_seen: bool) -> bool:
        """Nothing was kept before."""
        return False

    def take(self, row: Row, *, as_seen: bool) -> None:
        """Nothing was kept before."""

    def add(self, row: Row, film: Rendered, *, as_seen: bool) -> None:
        """``film`` as the next one."""
        self._images[self._count] = torch.from_numpy(unpack(film.packed))
        self._count += 1

    def arranged(self, order: list[int]) -> Tensor:
        """The first of them, as many as ``order`` holds, in that order."""
        return in_order(self._images[: len(order)], order)

    def notes(self) -> tuple[str, ...]:
        """Nothing was kept before."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return
