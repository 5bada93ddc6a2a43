"""Moments of a convolution's responses, from patches, against those of the maps that it computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import unhurried
from reid_audit.network.patches import is_plain, response_moments
from reid_audit.network.stem import read_stems
from reid_audit.records import ArchMatch

CONVOLUTIONS = {
    "a residual network's": nn.Conv2d(3, 6, 7, stride=2, padding=3, bias=False),
    "with a bias": nn.Conv2d(3, 5, 3, padding=1),
    "of one channel, dilated": nn.Conv2d(1, 4, (3, 2), stride=(1, 2), padding=(2, 0), dilation=2),
    "of patches": nn.Conv2d(3, 4, 8, stride=8),
}


def computed(layer: nn.Conv2d, images: Tensor) -> tuple[Tensor, Tensor]:
    """The moments, from maps of every feature."""
    channels = layer.in_channels
    planes = images.expand(-1, channels, -1, -1)

    def response(given: Tensor) -> Tensor:
        found: Tensor = layer(given) - layer(torch.zeros_like(given))
        return found

    def alone(given: Tensor, channel: int) -> Tensor:
        return torch.stack([given[:, c] if c == channel else torch.zeros_like(given[:, c]) for c in range(channels)], 1)

    with torch.no_grad():
        maps = [response(alone(planes, c)) for c in range(channels)]
        maps += [response(alone(torch.ones_like(planes), c)) for c in range(channels)]
        features = torch.stack([*maps, layer(torch.zeros_like(planes))], 2).flatten(3).double()
    return features.mean(-1), features @ features.transpose(-1, -2) / features.shape[-1]


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("planes", ["grey", "colours"])
def test_patches_say_what_the_maps_say(name: str, planes: str) -> None:
    layer = CONVOLUTIONS[name]
    images = torch.rand(5, 1 if planes == "grey" else layer.in_channels, 24, 17)
    for found, wanted in zip(
        response_moments(layer, images, unhurried(), "test"), computed(layer, images), strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-5)


def test_films_in_many_blocks_are_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, images = CONVOLUTIONS["a residual network's"], torch.rand(7, 1, 16, 16)
    whole = response_moments(layer, images, unhurried(), "test")
    monkeypatch.setattr("reid_audit.network.patches.PATCHES", 1)
    for found, wanted in zip(response_moments(layer, images, unhurried(), "test"), whole, strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


class Stem(nn.Module):
    """A convolution and its statistics, behind something that may change the input."""

    def __init__(self, before: nn.Module, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.before, self.convolution, self.norm = before, convolution, nn.BatchNorm2d(convolution.out_channels)
        self.norm.running_mean = torch.rand(convolution.out_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.norm(self.convolution(self.before(inputs)))
        return found


class PaddedAsItRuns(nn.Conv2d):
    """As timm's ``Conv2dSame``, whose own ``padding`` is nought."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(inputs, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("before", "convolution"),
    [
        (nn.Identity(), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.Identity(), nn.Conv2d(3, 6, 3, padding=1, groups=3)),
        (nn.Identity(), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
        (nn.Identity(), nn.Conv2d(3, 4, 3, padding="same")),
        (nn.Identity(), PaddedAsItRuns(3, 4, 3, stride=2)),
    ],
    ids=["plain", "behind another", "in groups", "mirrored edges", "padding by a word", "padding as it runs"],
)
def test_every_affine_stem_is_read(before: nn.Module, convolution: nn.Conv2d) -> None:
    target = Target(Stem(before, convolution).eval(), ArchMatch.model_construct(channels=3))
    images = torch.rand(6, 1, 16, 16)
    stems = read_stems(target, images)
    assert stems is not None
    values = torch.tensor([2.0, 0.5, 1.0, -0.3, 0.1, 0.2, 1.0]).double().numpy()
    given = images * torch.tensor([2.0, 0.5, 1.0]).view(3, 1, 1) + torch.tensor([-0.3, 0.1, 0.2]).view(3, 1, 1)
    with torch.no_grad():
        fed = convolution(before(given)).double()
    stem = stems.averaged()
    assert torch.allclose(torch.from_numpy(stem.linear @ values), fed.mean((0, 2, 3)), atol=1e-5)
    square = torch.from_numpy((stem.quadratic @ values) @ values)
    assert torch.allclose(square, fed.square().mean((0, 2, 3)), atol=1e-5)


def test_a_convolution_in_groups_is_not_read_from_patches() -> None:
    assert is_plain(nn.Conv2d(3, 4, 3))
    assert not is_plain(nn.Conv2d(4, 4, 3, groups=2))
    assert not is_plain(nn.Conv3d(1, 4, 3))
