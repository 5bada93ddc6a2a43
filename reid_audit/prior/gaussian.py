"""A Gaussian over images that is full-rank, so that no image is impossible and none is free.

Two forms of one model ``x = mean + z @ A``, z ~ N(0, I):

- exact: the covariance of the augmented images mixed with 10 % of its DCT-diagonal part, then eigen-decomposed;
- PCA: the leading components, plus a residual that is independent per DCT frequency. No matrix of side^2 x side^2.

A low-rank prior cannot express the detail that identifies a patient; the DCT part is what can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.provenance import Declaration, Origin, origin_entries, read_origin
from reid_audit.artefacts.storage import PriorFile, tensor_digest, write_prior
from reid_audit.errors import PriorError
from reid_audit.imaging.dct import dct, inverse_dct
from reid_audit.records import PriorCard

COMPONENTS = 256
EXACT_VALUES = 1024
"""Pixels x channels up to which the exact form is the default: its factor grows with the square of this."""
DCT_SHARE = 0.1
FIT_VALUES = 1 << 27
"""Most values held while fitting (0.5 GiB): larger sets of images get fewer augmented copies."""
STD_FLOOR = 1e-4
SHIFT, SCALE, DEGREES = 0.04, 0.05, 4.0

Form = Literal["auto", "exact", "pca"]


@dataclass(frozen=True, slots=True, eq=False)
class GaussianPrior:
    """``decode(z) = mean + z[:, :K] @ factor + idct2(dct_std * z[:, K:])``; without ``dct_std`` the first two terms."""

    card: PriorCard
    mean: Tensor
    """[C, H, W]"""
    factor: Tensor
    """[K, C*H*W], rows by falling variance."""
    dct_std: Tensor | None
    """[C, H, W] standard deviation of the residual per DCT frequency (PCA form), or None (exact form)."""
    origin: Origin | None = None
    """The films it was fitted on, where they are known."""

    @property
    def latent_dim(self) -> int:
        """D: C*H*W in the exact form, K + C*H*W in the PCA form."""
        return self.factor.shape[0] + (0 if self.dct_std is None else self.dct_std.numel())

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """[n, D] standard normal draws on the generator's device."""
        return torch.randn(n, self.latent_dim, generator=generator, device=generator.device)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [N, D] -> images [N, C, H, W], not clamped. Linear, so the gradient costs the same again."""
        rank = self.factor.shape[0]
        images = self.mean + (latents[:, :rank] @ self.factor).view(-1, *self.mean.shape)
        if self.dct_std is None:
            return images
        return images + inverse_dct(latents[:, rank:].view(-1, *self.mean.shape) * self.dct_std)

    def encode(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] -> the most probable latents [N, D] that decode to them: A^T (A A^T)^-1 (x - mean).

        Computed in double precision; the PCA form uses the Woodbury identity, so that only a K x K system is solved.
        """
        centred = (images - self.mean).double()
        factor = self.factor.double()
        if self.dct_std is None:
            scaled = factor / factor.square().sum(1, keepdim=True)
            return (centred.flatten(1) @ scaled.T).to(self.mean.dtype)
        std = self.dct_std.double()
        rows = (dct(factor.view(-1, *self.mean.shape)) / std).flatten(1)  # F S^-1, in the DCT basis
        whitened = (dct(centred) / std).flatten(1)
        inner = torch.eye(len(rows), dtype=rows.dtype, device=rows.device) + rows @ rows.T
        leading = torch.linalg.solve(inner, rows @ whitened.T).T
        return torch.cat([leading, whitened - leading @ rows], dim=1).to(self.mean.dtype)

    def to(self, device: torch.device) -> GaussianPrior:
        """The same prior with its tensors on ``device``."""
        std = None if self.dct_std is None else self.dct_std.to(device)
        return replace(self, mean=self.mean.to(device), factor=self.factor.to(device), dct_std=std)

    def save(self, path: Path, *, half: bool = False, recipe: str = "") -> None:
        """Write to safetensors; ``half`` stores the components as fp16 (64 px, 256 components: 2.2 MB)."""
        scale = self.factor.norm(dim=1)
        components = self.factor / scale.clamp_min(1e-12).unsqueeze(1)  # unit rows stay clear of fp16's small end
        tensors = {"mean": self.mean, "components": components.half() if half else components, "scale": scale}
        if self.dct_std is not None:
            tensors["dct_std"] = self.dct_std
        known, entries = origin_entries(self.origin)
        write_prior(path, tensors | known, self.card, recipe=recipe, **entries)


def load_gaussian(file: PriorFile) -> GaussianPrior:
    """The prior in a file written by ``save``. Raises PriorError where tensors are missing or do not fit."""
    tensors = file.tensors
    try:
        mean = tensors["mean"].float()
        factor = tensors["components"].float() * tensors["scale"].float().unsqueeze(1)
        std = tensors["dct_std"].float() if "dct_std" in tensors else None
        fits = mean.dim() == 3 and factor.shape[1] == mean.numel() and (std is None or std.shape == mean.shape)
    except (KeyError, RuntimeError, IndexError) as error:
        raise _damaged(str(error)) from error
    if not fits or not all(bool(t.isfinite().all()) for t in (mean, factor)):
        raise _damaged(f"mean {tuple(mean.shape)}, components {tuple(factor.shape)}")
    return GaussianPrior(file.card(), mean, factor, std, read_origin(file))


def fit_gaussian(
    images: Tensor,
    declared: Declaration,
    generator: torch.Generator,
    *,
    patients: int = 0,
    augment: int = 8,
    form: Form = "auto",
) -> GaussianPrior:
    """Fit to ``images`` [N, C, S, S] in [0, 1], each seen ``augment`` times (once as it is, then slightly moved).

    ``patients`` counts the people behind the images. ``form`` "auto" is exact up to 32 x 32 pixels, PCA above. Raises
    PriorError for fewer than 8 images or images of another form.
    """
    _check(images)
    copies = max(1, min(augment, FIT_VALUES // images.numel()))
    rows = torch.cat([images, *(jitter(images, generator) for _ in range(copies - 1))])
    mean = rows.mean(0)
    centred = (rows - mean).flatten(1)
    exact = form == "exact" or (form == "auto" and centred.shape[1] <= EXACT_VALUES)
    factor, std = _exact(centred, mean) if exact else _leading(centred, mean, generator)
    tensors = {"mean": mean, "factor": factor} | ({} if std is None else {"dct_std": std})
    card = PriorCard(
        id=declared.name,
        kind="gaussian",
        sha256=tensor_digest(tensors),
        side=images.shape[-1],
        channels=images.shape[1],
        declared_training_sets=declared.data_sets,
        images=len(images),
        patients=patients,
        licence=declared.licence,
    )
    return GaussianPrior(card, mean, factor, std, declared.origin)


def _exact(centred: Tensor, mean: Tensor) -> tuple[Tensor, None]:
    """Eigenvectors of 0.9 S + 0.1 (DCT-diagonal part of S), scaled by their standard deviation."""
    sample = centred.T @ centred / (len(centred) - 1)
    variance = dct(centred.view(-1, *mean.shape)).square().mean(0)
    basis = inverse_dct(torch.eye(mean.numel()).view(-1, *mean.shape)).flatten(1)  # rows: one frequency each
    smooth = basis.T @ (variance.flatten().unsqueeze(1) * basis)
    values, vectors = torch.linalg.eigh((1 - DCT_SHARE) * sample + DCT_SHARE * smooth)
    scale = values.clamp_min(STD_FLOOR**2).sqrt()
    return (vectors * scale).T.flip(0).contiguous(), None


def _leading(centred: Tensor, mean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Leading components by subspace iteration (Halko et al. 2011, algorithm 4.4), and the residual's DCT spread."""
    rank = min(COMPONENTS, len(centred) - 1, centred.shape[1])
    width = min(rank + 16, len(centred), centred.shape[1])
    subspace = torch.randn(centred.shape[1], width, generator=generator)
    for _ in range(3):
        subspace = torch.linalg.qr(centred.T @ (centred @ subspace)).Q
    scores = centred @ subspace
    values, vectors = torch.linalg.eigh(scores.T @ scores / (len(centred) - 1))
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    components = (subspace @ vectors).T
    residual = centred - (centred @ components.T) @ components
    std = dct(residual.view(-1, *mean.shape)).square().mean(0).sqrt().clamp_min(STD_FLOOR)
    return components * values.clamp_min(0).sqrt().unsqueeze(1), std


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted up to 4 %, scaled up to 5 % and rotated up to 4 degrees; bicubic, so that detail survives."""
    draws = torch.rand(len(images), 4, generator=generator) * 2 - 1
    angle, scale = draws[:, 0] * math.radians(DEGREES), 1 + draws[:, 1] * SCALE
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    shift = draws[:, 2:] * 2 * SHIFT
    theta = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)


def _check(images: Tensor) -> None:
    if images.dim() != 4 or images.shape[-1] != images.shape[-2] or len(images) < 8:
        raise PriorError(
            "a Gaussian prior needs at least 8 square images",
            closest=f"a tensor of shape {tuple(images.shape)}",
            remedy="give a folder with more images, read at one square size",
        )
    if not bool(images.isfinite().all()) or images.min() < 0 or images.max() > 1:
        raise PriorError(
            "the images for the prior leave the range 0 to 1",
            closest=f"values from {float(images.min()):.3g} to {float(images.max()):.3g}",
            remedy="give images read by the cohort reader, before mean and std",
        )


def _damaged(closest: str) -> PriorError:
    return PriorError(
        "the Gaussian prior file is damaged",
        closest=closest,
        remedy="fit it again with 'reid-audit prior fit', or leave --prior out to use the shipped one",
    )
