"""From square films in [0, 1] to what the network saw, and back: values, and how it saw them turned. What comes before
lives in cohort/render.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reid_audit.records import PerFilm, PreprocessSpec, Turn

_TURNED: dict[Turn, Callable[[Tensor], Tensor]] = {
    "none": lambda images: images,
    "rotate_90": lambda images: torch.rot90(images, 1, (-2, -1)),
    "rotate_180": lambda images: images.flip(-2, -1),
    "rotate_270": lambda images: torch.rot90(images, 3, (-2, -1)),
    "flip_left_right": lambda images: images.flip(-1),
    "flip_top_bottom": lambda images: images.flip(-2),
    "transpose": lambda images: images.transpose(-2, -1),
    "transverse": lambda images: images.flip(-2, -1).transpose(-2, -1),
}
_BACK: dict[Turn, Turn] = {"rotate_90": "rotate_270", "rotate_270": "rotate_90"}
"""Every other turn undoes itself."""


FLAT = 1e-6
"""Deviation far below that of any film, so that a flat one is not divided by zero."""


def standardised(images: Tensor, per_film: PerFilm) -> Tensor:
    """Images [..., C, H, W] after what is done to each of them by itself. A flat one becomes 0."""
    if per_film == "none":
        return images
    dims = (-3, -2, -1)
    centred = images - images.mean(dims, keepdim=True)
    return centred / (centred.square().mean(dims, keepdim=True) + FLAT**2).sqrt()


def prepared(images: Tensor, spec: PreprocessSpec) -> Tensor:
    """Images [..., C, H, W] as the network saw them but for ``mean``, ``std`` and ``invert``, which are linear."""
    return turned(standardised(images, spec.per_film), spec.turn)


def turned(images: Tensor, turn: Turn) -> Tensor:
    """Upright images [..., H, W] as the network saw them."""
    return _TURNED[turn](images)


def to_network(images: Tensor, spec: PreprocessSpec, channels: int) -> Tensor:
    """Map images in [0, 1] to network input: standardise each where ``per_film`` says so, invert, repeat grey to
    ``channels``, subtract mean, divide by std, turn.

    images: [N, 1 or channels, H, W]. Differentiable. Returns [N, channels, H, W].
    """
    values = standardised(images, spec.per_film)
    values = 1.0 - values if spec.invert else values
    mean = _by_channel(spec.mean, values)
    std = _by_channel(spec.std, values)
    if values.shape[1] == 1 and channels > 1:
        values = values.expand(-1, channels, -1, -1)
    return turned((values - mean) / std, spec.turn)


def from_network(tensors: Tensor, spec: PreprocessSpec) -> Tensor:
    """Inverse of ``to_network`` for tensors stored exactly as the network saw them: [N, C, H, W] back to [0, 1].

    Raises ValueError where each image was standardised by itself: its own mean and deviation are gone.
    """
    if spec.per_film != "none":
        raise ValueError("images that were standardised one by one cannot be mapped back")
    mean = _by_channel(spec.mean, tensors)
    std = _by_channel(spec.std, tensors)
    values = turned(tensors, _BACK.get(spec.turn, spec.turn)) * std + mean
    return (1.0 - values if spec.invert else values).clamp(0.0, 1.0)


def _by_channel(numbers: Sequence[float], like: Tensor) -> Tensor:
    """[1, C, 1, 1], made where ``like`` lies: a GPU need not wait for a copy."""
    return torch.cat([like.new_full((1,), number) for number in numbers]).view(1, -1, 1, 1)


IMAGENET = PreprocessSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = PreprocessSpec(mean=(0.5,), std=(0.5,))
UNIT = PreprocessSpec(mean=(0.0,), std=(1.0,))
XRV = PreprocessSpec(mean=(0.5,), std=(1.0 / 2048.0,))
"""torchxrayvision: pixel range -1024 to 1024 (Cohen et al. 2022)."""

NAMED: dict[str, PreprocessSpec] = {"unit": UNIT, "half": HALF, "imagenet": IMAGENET, "xrv": XRV}
"""Value conventions by the names ``--preprocess`` knows them under."""

KNOWN_VALUES: tuple[PreprocessSpec, ...] = (
    *NAMED.values(),
    PreprocessSpec(mean=(0.0,), std=(1.0 / 255.0,)),
    PreprocessSpec(mean=(0.449,), std=(0.226,)),
    PreprocessSpec(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)),
    PreprocessSpec(mean=(128.0 / 255.0,), std=(64.0 / 255.0,)),
    PreprocessSpec(mean=(0.5862785803043838,), std=(0.27950088968644304,)),
)
"""Values that published networks were trained with: those with a name; 0 to 255; ImageNet's as one channel; CLIP
(Radford et al. 2021); 128 and 64 of 255 (CheXpert, Ye et al. 2020); MedCLIP (Wang et al. 2022)."""
