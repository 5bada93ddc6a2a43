"""What reconstructions and weights are compared with: the images of both cohorts, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.imaging.stack import Stack
from reid_audit.score.patients import Floats, Owners
from reid_audit.score.similarity import NCC_SIDE, Space, resized


class Samples(Protocol):
    """Images of an attack, or of one without the weights; an attack's ``Reconstruction`` is one."""

    @property
    def images(self) -> Tensor:
        """[R, C, H, W] in [0, 1]."""

    @property
    def energies(self) -> Tensor:
        """[R] energy under the target; lower is more plausible."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Images of training and hold-out patients in one order, with all that is known of them."""

    images: Stack
    """[N, C, H, W] in [0, 1]."""
    owners: Owners
    space: Space
    """Where images are compared; fitted once, on images of neither cohort."""
    ages: Floats
    """[N] years, NaN where unknown."""
    sexes: NDArray[np.str_]
    """[N] "M", "F" or ""."""
    labels: NDArray[np.str_]
    """[N] training labels, "" where unknown."""

    @classmethod
    def unlabelled(cls, images: Stack, owners: Owners, space: Space) -> Comparison:
        """A comparison of images of which neither age nor sex nor label is known."""
        nothing = np.full(len(images), "")
        return cls(images, owners, space, np.full(len(images), np.nan), nothing, nothing)

    @cached_property
    def embedded(self) -> Tensor:
        """[N, K] the images in the space, which every scorer asks for: one pass over all of them."""
        return self.space.embed(self.images)

    @cached_property
    def small(self) -> Tensor:
        """[N, C, H, W] the images at ``NCC_SIDE`` or their own side, for the second scorer."""
        return resized(self.images, min(NCC_SIDE, self.images.shape[-1]))

    def near(self, images: Tensor) -> Tensor:
        """[R, N] cosine of other images [R, C, H, W] to each of these, in the space."""
        return self.space.embed(images) @ self.embedded.T

    @property
    def patients(self) -> NDArray[np.str_]:
        """[N] whose each image is."""
        return self.owners.patients

    @property
    def is_member(self) -> NDArray[np.bool_]:
        """[N] whether each image was used in training."""
        return self.owners.is_member
