"""Audit a 3-D network: volumes as sheets of their slices, and the network behind a wrapper that cuts sheets up again.

    python volumes.py write volumes/train.npz sheets/train.npz    # [N, D, H, W], or a folder of NIfTI files
    reid-audit check model.pt --arch-factory volumes:network --side 64 --preprocess half \\
        --reference sheets/train.npz --holdout sheets/holdout.npz --prior sheets/public.npz

A sheet is a square film: D = n * n slices of S x S voxels, n in a row, in their order. docs/how-to/volumes.md says what
the audit then measures. Copy this file and put your own network into ``network``.
"""

from __future__ import annotations

import sys
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SLICES, SIDE = 16, 16
"""Slices of a volume, a square number, and voxels along each side of a slice: what the network was trained on."""
BLACK, WHITE = 0.0, 1.0
"""Values of a voxel that become 0 and 255: the window of the training, such as -1000 and 400 for CT."""


def to_sheets(volumes: Tensor) -> Tensor:
    """Volumes [N, D, S, S] -> sheets [N, n * S, n * S], n = sqrt(D)."""
    count, depth, side, _ = volumes.shape
    row = isqrt(depth)
    if row * row != depth:
        raise ValueError(f"{depth} slices make no square sheet: resample to 4, 9, 16, 25, 36, 49 or 64")
    tiles = volumes.reshape(count, row, row, side, side)
    return tiles.permute(0, 1, 3, 2, 4).reshape(count, row * side, row * side)


def to_volumes(sheets: Tensor, slices: int) -> Tensor:
    """Sheets [N, 1, n * S, n * S] -> volumes [N, 1, D, S, S], D = ``slices`` = n * n."""
    row, side = isqrt(slices), sheets.shape[-1] // isqrt(slices)
    tiles = sheets.reshape(len(sheets), row, side, row, side)
    return tiles.permute(0, 1, 3, 2, 4).reshape(len(sheets), 1, slices, side, side)


class OnSheets(nn.Module):
    """A network for volumes that takes sheets [N, 1, n * S, n * S]."""

    def __init__(self, network: nn.Module, slices: int) -> None:
        super().__init__()
        self.network = network
        self.slices = slices

    def forward(self, sheets: Tensor) -> Tensor:
        """What the network says of the volumes."""
        said: Tensor = self.network(to_volumes(sheets, self.slices))
        return said


def network() -> nn.Module:
    """The constructor that --arch-factory names: your network here, in place of a small ResNet with BatchNorm."""
    from monai.networks.nets import ResNet

    small = ResNet("basic", (1, 1, 1, 1), (8, 16, 32, 64), n_input_channels=1, conv1_t_size=3, num_classes=2)
    return OnSheets(small, SLICES)


def resampled(volume: NDArray[np.generic]) -> NDArray[np.uint8]:
    """[D, H, W] of any size -> uint8 [SLICES, SIDE, SIDE]."""
    values = torch.from_numpy(np.asarray(volume, dtype=np.float32))[None, None]
    scaled = ((values - BLACK) / (WHITE - BLACK)).clamp(0, 1)
    smaller = functional.interpolate(scaled, (SLICES, SIDE, SIDE), mode="trilinear", align_corners=False)
    return np.asarray((255 * smaller[0, 0]).round().to(torch.uint8).numpy())


def read(source: Path) -> list[NDArray[np.generic]]:
    """Volumes [D, H, W] of an NPZ (its first array, [N, D, H, W]) or of every NIfTI file of a folder (nibabel)."""
    if source.suffix == ".npz":
        with np.load(source) as held:
            return list(held[held.files[0]])
    import nibabel

    return [np.asarray(nibabel.load(path).dataobj).T for path in sorted(source.glob("*.nii*"))]


def write(source: Path, out: Path) -> None:
    """Write the sheets of all volumes of ``source``, uint8 [N, n * SIDE, n * SIDE]."""
    small = torch.from_numpy(np.stack([resampled(volume) for volume in read(source)]))
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, images=to_sheets(small).numpy())


if __name__ == "__main__":
    write(Path(sys.argv[2]), Path(sys.argv[3]))
