"""Results of many batches, written into one place as they come.

Kept one by one, the small results of a pass would each lie in the middle of memory that its activations have just
freed. The next pass finds no room there and takes new memory: at 224 px the heap grew by 30 MB a film of a
DenseNet-121, and by 4 of a ResNet-18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from reid_audit.network.batchnorm import ImageMoments, StoredStatistics


@dataclass(slots=True, eq=False)
class Rows:
    """[N, ...] results of ``most`` images at most, a batch at a time."""

    most: int
    count: int = 0
    """N so far."""
    _whole: Tensor | None = None

    def add(self, part: Tensor) -> None:
        """Those of the next images [B, ...]. Raises RuntimeError beyond ``most``."""
        if self._whole is None:
            self._whole = part.new_empty(self.most, *part.shape[1:])
        self._whole[self.count : self.count + len(part)] = part
        self.count += len(part)

    def found(self) -> Tensor | None:
        """[N, ...]; None where nothing came."""
        return None if self._whole is None else self._whole[: self.count]


@dataclass(slots=True, eq=False)
class _Layer:
    """Both moments of one statistics layer."""

    stored: StoredStatistics
    positions: int
    first: Rows
    second: Rows


@dataclass(slots=True, eq=False)
class GatheredMoments:
    """``image_moments`` of ``most`` images at most, a batch at a time."""

    most: int
    _layers: list[_Layer] = field(default_factory=list)

    def add(self, layers: Sequence[ImageMoments]) -> None:
        """Those of the next images, in execution order. Raises ValueError for other layers than before."""
        if not self._layers:
            self._layers = [_Layer(each.stored, each.positions, Rows(self.most), Rows(self.most)) for each in layers]
        for whole, part in zip(self._layers, layers, strict=True):
            whole.first.add(part.first)
            whole.second.add(part.second)

    def found(self) -> list[ImageMoments]:
        """Those of all images that came; empty without any."""
        return [
            ImageMoments(layer.stored, first, second, layer.positions)
            for layer in self._layers
            if (first := layer.first.found()) is not None and (second := layer.second.found()) is not None
        ]
