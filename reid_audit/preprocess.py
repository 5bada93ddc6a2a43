"""From films in [0, 1] to what the network saw, and back. Spatial steps live in cohort.py, value steps here."""

from __future__ import annotations

from torch import Tensor

from reid_audit.records import PreprocessSpec


def to_network(images: Tensor, spec: PreprocessSpec, channels: int) -> Tensor:
    """Map images in [0, 1] to network input: invert, repeat grey to ``channels``, subtract mean, divide by std.

    images: [N, 1 or channels, H, W]. Differentiable. Returns [N, channels, H, W].
    """
    values = 1.0 - images if spec.invert else images
    mean = values.new_tensor(spec.mean).view(1, -1, 1, 1)
    std = values.new_tensor(spec.std).view(1, -1, 1, 1)
    if values.shape[1] == 1 and channels > 1:
        values = values.expand(-1, channels, -1, -1)
    return (values - mean) / std


def from_network(tensors: Tensor, spec: PreprocessSpec) -> Tensor:
    """Inverse of ``to_network`` for tensors stored exactly as the network saw them: [N, C, H, W] back to [0, 1]."""
    mean = tensors.new_tensor(spec.mean).view(1, -1, 1, 1)
    std = tensors.new_tensor(spec.std).view(1, -1, 1, 1)
    values = tensors * std + mean
    return (1.0 - values if spec.invert else values).clamp(0.0, 1.0)


IMAGENET = PreprocessSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = PreprocessSpec(mean=(0.5,), std=(0.5,))
UNIT = PreprocessSpec(mean=(0.0,), std=(1.0,))
XRV = PreprocessSpec(mean=(0.5,), std=(1.0 / 2048.0,))
"""torchxrayvision: pixel range -1024 to 1024 (Cohen et al. 2022)."""

NAMED: dict[str, PreprocessSpec] = {"unit": UNIT, "half": HALF, "imagenet": IMAGENET, "xrv": XRV}
"""Value conventions by the names ``--preprocess`` knows them under; all are tried when none is declared."""

CONVENTIONS: tuple[PreprocessSpec, ...] = tuple(NAMED.values())
