"""Many images that need not fit into memory: a tensor, films on disk, or a choice of either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 25
"""Bytes of images that are in memory at once where nobody asks for fewer."""


class Stack(Protocol):
    """N images [C, H, W], float32 in [0, 1], all of one shape. A tensor [N, C, H, W] is one.

    What is indexed is in memory: a few at a time (``blocks``) where all of them would be large.
    """

    @property
    def shape(self) -> torch.Size:
        """[N, C, H, W]."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        """The images at ``rows``, a slice or int64 [K], as a tensor [K, C, H, W]."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Some images of a stack, in an order of their own; nothing is copied."""

    whole: Stack
    rows: Tensor
    """[K] int64"""

    @property
    def shape(self) -> torch.Size:
        """[K, C, H, W] of the rows chosen."""
        return torch.Size((len(self.rows), *self.whole.shape[1:]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        return self.whole[self.rows[rows]]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The images of one stack, then those of another; nothing is copied."""

    first: Stack
    second: Stack

    @property
    def shape(self) -> torch.Size:
        """[N, C, H, W] of both together."""
        return torch.Size((len(self), *self.first.shape[1:]))

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor:
        asked = torch.arange(len(self))[rows]
        early = asked < len(self.first)
        if bool(early.all()):
            return self.first[asked]
        if not bool(early.any()):
            return self.second[asked - len(self.first)]
        found = torch.empty((len(asked), *self.shape[1:]))
        found[early] = self.first[asked[early]]
        found[~early] = self.second[asked[~early] - len(self.first)]
        return found


def blocks(images: Stack, size: int | None = None) -> Iterator[Tensor]:
    """``images`` in their order, at most ``size`` at a time: without one, as many as ``BLOCK_BYTES`` hold.

    Of a stack without images there is one block, which is empty.
    """
    count, *one = images.shape
    step = max(1, BLOCK_BYTES // max(1, 4 * one[0] * one[1] * one[2])) if size is None else size
    for start in range(0, max(1, count), step):
        yield images[start : start + step]
