"""Networks trained under preprocessing that an audit may get wrong: values, sides, framings, filters, grey scales."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.training import KNOWN, MOST_EPOCHS, NotKnownByHeart
from reid_audit.cohort import RawFilm, Sample, Source, render, sample_pooled
from reid_audit.imaging.augmentation import augmented
from reid_audit.network.geometries import changed
from reid_audit.preprocess import to_network
from reid_audit.records import PreprocessSpec, Scaling

Recipe = Literal["heart", "minibatches", "crops", "careful"]
"""Few films by heart in one batch, many by heart in minibatches, fewer so from random crops and mirrored, or many with
augmentation and weight decay."""
MEMBERS: dict[Recipe, int] = {"heart": 32, "minibatches": 384, "crops": 160, "careful": 384}
"""Training films of each recipe."""
STEPS, EPOCHS, BATCH, OF_CROPS = 120, 15, 64, 16
"""Steps by heart, epochs with care, and films in a minibatch, of whole films and of crops."""

VALUES: dict[str, PreprocessSpec] = {
    "unit": PreprocessSpec(),
    "half": PreprocessSpec(mean=(0.5,), std=(0.5,)),
    "quarter": PreprocessSpec(mean=(0.5,), std=(0.25,)),
    "imagenet": PreprocessSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "nih": PreprocessSpec(mean=(0.5056,), std=(0.252,)),
    "chexpert": PreprocessSpec(mean=(0.5330,), std=(0.0349,)),
    "mimic": PreprocessSpec(mean=(0.4721,), std=(0.3025,)),
    "xrv": PreprocessSpec(mean=(0.5,), std=(1 / 2048,)),
    "255": PreprocessSpec(std=(1 / 255,)),
    "odd": PreprocessSpec(mean=(0.31,), std=(0.41,)),
    "apart": PreprocessSpec(mean=(0.62, 0.48, 0.35), std=(0.31, 0.24, 0.19)),
    "inverted": PreprocessSpec(mean=(0.5,), std=(0.25,), invert=True),
}
"""Data sets' own and odd values; of NIH, CheXpert and MIMIC as public training code writes them."""
ONE_CHANNEL = "resnet18-grey"
ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda _: torchvision.models.resnet18(num_classes=2),
    ONE_CHANNEL: lambda _: timm.create_model("resnet18", num_classes=2, in_chans=1),
    "densenet121": lambda _: torchvision.models.densenet121(num_classes=2),
    "mobilenet_v2": lambda _: torchvision.models.mobilenet_v2(num_classes=2),
    "efficientnet_b0": lambda _: timm.create_model("efficientnet_b0", num_classes=2),
    "convnext_atto": lambda _: timm.create_model("convnext_atto", num_classes=2),
    "vit_tiny": lambda side: timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=side),
}
WITHOUT_STATISTICS = ("convnext_atto", "vit_tiny")


@dataclass(frozen=True, slots=True)
class Trap:
    """One network, and what its films went through."""

    architecture: str
    values: str
    geometry: PreprocessSpec
    films: str = "8-bit"
    """``8-bit`` pictures, or ``12-bit`` films of differing exposure."""
    recipe: Recipe = "heart"

    @property
    def truth(self) -> PreprocessSpec:
        """The preprocessing of the training."""
        values = VALUES[self.values]
        return self.geometry.model_copy(update={"mean": values.mean, "std": values.std, "invert": values.invert})

    @property
    def name(self) -> str:
        g = self.geometry
        cut = [] if g.keep is None else ["keep" + "x".join(f"{round(100 * edge)}" for edge in g.keep)]
        cut += [] if g.turn == "none" else [g.turn]
        cut += [] if g.per_film == "none" else [g.per_film]
        frame = [str(g.side), *cut, g.resize, *([f"from{g.resize_to}"] if g.resize_to else []), g.interpolation]
        scale = [self.films, *([g.scaling.by] if g.scaling else [])] if self.films != "8-bit" else []
        return "-".join([self.architecture, self.values, *frame, *scale, self.recipe])


def frame(side: int, **changes: object) -> PreprocessSpec:
    """A geometry."""
    return PreprocessSpec(side=side).model_copy(update=changes)


def library() -> tuple[Trap, ...]:
    """Every trap, in an order in which every kind is met early."""
    shorter = {"resize": "shorter", "crop": "center"}
    traps = [Trap("resnet18", values, frame(64)) for values in VALUES]
    traps += [Trap("resnet18", "quarter", frame(side)) for side in (32, 48, 96, 128, 160, 224)]
    traps += [Trap("resnet18", "nih", frame(64, interpolation=i)) for i in ("nearest", "bicubic", "lanczos", "box")]
    traps += [Trap("resnet18", "nih", frame(side, **shorter)) for side in (64, 112)]
    traps += [Trap("resnet18", "imagenet", frame(112, resize_to=128, **shorter))]
    traps += [Trap("resnet18", "quarter", frame(64, scaling=Scaling(by="minmax")), films="12-bit")]
    traps += [
        Trap("resnet18", "quarter", frame(64, scaling=Scaling(by="percentiles", limits=(1.0, 99.0))), films="12-bit"),
        Trap("resnet18", "half", frame(64, scaling=Scaling(by="range", limits=(0.0, 4095.0))), films="12-bit"),
    ]
    traps += [Trap(ONE_CHANNEL, values, frame(64)) for values in ("unit", "nih", "xrv", "inverted")]
    for name in ("densenet121", "mobilenet_v2", "efficientnet_b0"):
        traps += [Trap(name, values, frame(64)) for values in ("quarter", "imagenet", "xrv", "mimic", "inverted")]
        traps += [Trap(name, "nih", frame(32)), Trap(name, "half", frame(128))]
    traps += [Trap("resnet18", values, frame(64), recipe="careful") for values in ("quarter", "imagenet", "xrv", "odd")]
    traps += [Trap("resnet18", "nih", frame(side), recipe="careful") for side in (32, 96)]
    traps += [Trap(name, "quarter", frame(64), recipe="careful") for name in ("densenet121", "mobilenet_v2")]
    traps += [
        Trap(name, v, frame(64)) for name in WITHOUT_STATISTICS for v in ("quarter", "imagenet", "unit", "inverted")
    ]
    return (*traps, *in_minibatches(), *cropped(), *standardised())


def in_minibatches() -> tuple[Trap, ...]:
    """Networks whose stored statistics are those of their last batches, and of no set of films."""
    shorter = {"resize": "shorter", "crop": "center"}
    resnets = [("quarter", frame(64)), ("imagenet", frame(64)), ("xrv", frame(64)), ("inverted", frame(64))]
    resnets += [("nih", frame(32)), ("nih", frame(96)), ("nih", frame(64, interpolation="bicubic"))]
    resnets += [("nih", frame(64, **shorter)), ("imagenet", frame(112, resize_to=128, **shorter))]
    others = [("densenet121", 32), ("mobilenet_v2", 64), ("efficientnet_b0", 64), ("convnext_atto", 64)]
    return (
        *(Trap("resnet18", values, geometry, recipe="minibatches") for values, geometry in resnets),
        *(Trap(name, "quarter", frame(side), recipe="minibatches") for name, side in others),
        *cut(),
        *swapped(),
    )


def cut() -> tuple[Trap, ...]:
    """Networks that learned a part of each film."""
    rows, middle, low = (0.0, 20 / 256, 1.0, 236 / 256), (0.1, 0.1, 0.9, 0.9), (0.0, 0.14, 1.0, 1.0)
    return (
        *(Trap("resnet18", "quarter", frame(64, keep=box), recipe="minibatches") for box in (rows, middle, low)),
        Trap("resnet18", "nih", frame(32, keep=middle), recipe="minibatches"),
        Trap("densenet121", "quarter", frame(64, keep=rows), recipe="minibatches"),
        Trap("resnet18", "nih", frame(64, resize="longer", crop="center"), recipe="minibatches"),
        Trap("resnet18", "quarter", frame(64, keep=rows)),
        Trap("resnet18", "quarter", frame(64, keep=middle), recipe="careful"),
    )


def cropped() -> tuple[Trap, ...]:
    """Networks that learned random crops of the resized films, of which no frame shows what they saw."""
    middle = {"resize": "shorter", "crop": "center"}
    return (
        Trap("resnet18", "imagenet", frame(96, resize_to=110, **middle), recipe="crops"),
        Trap("resnet18", "quarter", frame(64, resize_to=73, **middle), recipe="crops"),
    )


def standardised() -> tuple[Trap, ...]:
    """Networks that saw every film at mean 0 and deviation 1, as nnU-Net and MONAI's NormalizeIntensity make it."""
    alone = frame(64, per_film="zscore")
    recipes: tuple[Recipe, ...] = ("heart", "minibatches", "careful")
    return (*(Trap("resnet18", "unit", alone, recipe=recipe) for recipe in recipes), Trap("vit_tiny", "unit", alone))


def swapped() -> tuple[Trap, ...]:
    """Networks that saw films with rows and columns swapped, as MONAI's readers hand them over."""
    turned = frame(64, turn="transpose")
    return (
        Trap("resnet18", "quarter", turned, recipe="minibatches"),
        Trap("resnet18", "nih", frame(32, turn="transpose"), recipe="minibatches"),
        Trap("densenet121", "quarter", frame(32, turn="transpose"), recipe="minibatches"),
        Trap("resnet18", "quarter", turned),
        Trap("convnext_atto", "quarter", turned),
        Trap("resnet18", "quarter", turned, recipe="careful"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class FilmSet:
    """Raw films of both cohorts, one for each patient, with the sex that the networks learn."""

    members: Sample
    others: Sample

    @classmethod
    def of(cls, data: Path, trap: Trap) -> FilmSet:
        """Members from the `target` split, the others from `holdout`; cut to 256 x 216 so that framing matters, but for
        networks that learned a part of each film: they are asked with whole films."""
        most = {"target": MEMBERS[trap.recipe], "holdout": 400}
        return cls(*(_cut(data, split, count, trap) for split, count in most.items()))

    def draw(self, sides: tuple[str, ...], count: int, edge: Callable[[int], int] | None = None) -> Sample:
        """As ``Films.raw``: pooled, blind to the cohort. These films are as small as any ``edge`` asks for."""
        del edge
        given = [sample for side, sample in (("reference", self.members), ("holdout", self.others)) if side in sides]
        films = [film for sample in given for film in sample.films]
        labels = np.concatenate([sample.labels for sample in given])
        order = sorted(range(len(films)), key=lambda i: hashlib.sha256(films[i].pixels.tobytes()).digest())[:count]
        return Sample(tuple(films[i] for i in order), labels[order])


def _cut(data: Path, split: str, count: int, trap: Trap) -> Sample:
    drawn = sample_pooled([Source(data, {"split": split}, label="sex")], count=count, seed=7)
    rng = np.random.default_rng(1 if split == "target" else 2)
    rows = slice(20, 236) if trap.geometry.keep is None else slice(None)
    films = [replace(film, pixels=np.ascontiguousarray(film.pixels[rows])) for film in drawn.films]
    return Sample(tuple(film if trap.films == "8-bit" else _exposed(film, rng) for film in films), drawn.labels)


def _exposed(film: RawFilm, rng: np.random.Generator) -> RawFilm:
    """The film as a detector of 12 bits might give it: another gain and offset each time."""
    low, high = rng.uniform(0, 800), rng.uniform(2400, 4000)
    pixels = np.round(low + film.pixels.astype(np.float64) / 255 * (high - low)).astype(np.uint16)
    return RawFilm(pixels=pixels, kind="integer", bits=12, low=0.0, high=4095.0, source="12-bit film")


def images_of(sample: Sample, spec: PreprocessSpec) -> Tensor:
    """[N, 1, side, side] in [0, 1]."""
    return torch.stack([render(film, spec, spec.side or 0, 1) for film in sample.films])


def numbers_of(labels: NDArray[np.str_]) -> Tensor:
    """[N] 0 or 1."""
    return torch.from_numpy((labels == "M").astype(np.int64))


def trained(trap: Trap, films: FilmSet, device: torch.device) -> nn.Module:
    """The network, on ``device``, for evaluation."""
    torch.manual_seed(0)
    module = ARCHITECTURES[trap.architecture](trap.geometry.side or 0).to(device).train()
    channels = 1 if trap.architecture == ONE_CHANNEL else 3
    images, labels = images_of(films.members, trap.truth), numbers_of(films.members.labels).to(device)
    prepare = partial(_prepared, truth=trap.truth, channels=channels, device=device)
    if trap.recipe == "crops":
        whole = changed(trap.geometry, side=trap.geometry.resize_to, resize_to=None)
        _in_minibatches(module, images, labels, prepare, Crops(images_of(films.members, whole), images.shape[-1]))
    else:
        learn: dict[Recipe, Learn] = {"heart": _by_heart, "minibatches": _in_minibatches, "careful": _carefully}
        learn[trap.recipe](module, images, labels, prepare)
    return module.eval()


def _prepared(few: Tensor, *, truth: PreprocessSpec, channels: int, device: torch.device) -> Tensor:
    return to_network(few.to(device), truth, channels)


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Random crops of square films, every other one mirrored."""

    images: Tensor
    """[N, 1, S, S]"""
    side: int

    def of(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """[len(rows), 1, side, side]"""
        room = self.images.shape[-1] - self.side + 1
        seen = []
        for image in self.images[rows]:
            top, left = torch.randint(room, (2,), generator=generator).tolist()
            crop = image[:, top : top + self.side, left : left + self.side]
            seen.append(crop.flip(-1) if torch.rand((), generator=generator) < 0.5 else crop)
        return torch.stack(seen)


Learn = Callable[[nn.Module, Tensor, Tensor, Callable[[Tensor], Tensor]], None]


def _by_heart(module: nn.Module, images: Tensor, labels: Tensor, prepare: Callable[[Tensor], Tensor]) -> None:
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    inputs = prepare(images)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (1 - step / STEPS)
        _descend(module, optimiser, inputs, labels)


def _in_minibatches(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    prepare: Callable[[Tensor], Tensor],
    crops: Crops | None = None,
) -> None:
    """Until the network as it would be released knows nearly all films and, but of crops, an epoch did."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(MOST_EPOCHS):
        right = 0
        batch = BATCH if crops is None else OF_CROPS
        for rows in torch.split(torch.randperm(len(images), generator=generator), batch):
            wanted = labels[rows.to(labels.device)]
            seen = images[rows] if crops is None else crops.of(rows, generator)
            logits = _descend(module, optimiser, prepare(seen), wanted)
            right += int((logits.argmax(1) == wanted).sum())
        known = crops is not None or right > KNOWN * len(images)
        if known and _released_knows(module, images, labels, prepare):
            return
    raise NotKnownByHeart(f"{right} of {len(images)} films are known after {MOST_EPOCHS} epochs")


def _released_knows(module: nn.Module, images: Tensor, labels: Tensor, prepare: Callable[[Tensor], Tensor]) -> bool:
    """Whether nearly all films are known with the stored statistics: those of the last batches may lag behind."""
    module.eval()
    with torch.no_grad():
        answers = torch.cat([module(prepare(few)).argmax(1) for few in torch.split(images, BATCH)])
    module.train()
    return int((answers == labels).sum()) > KNOWN * len(images)


def _carefully(module: nn.Module, images: Tensor, labels: Tensor, prepare: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05)
    total = EPOCHS * (len(images) // BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=total)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for rows in torch.split(order, BATCH)[: len(images) // BATCH]:
            seen = augmented(images[rows], "moved", images.shape[-1], generator)
            _descend(module, optimiser, prepare(seen), labels[rows.to(labels.device)])
            plan.step()


def _descend(module: nn.Module, optimiser: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> Tensor:
    """The logits before the step."""
    logits: Tensor = module(inputs)
    loss = functional.cross_entropy(logits, labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return logits.detach()
