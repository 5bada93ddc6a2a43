"""Ways to train against memorising: each changes one thing of learning by heart, ``care`` several, ``dp`` the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.lab.data import SPEC
from benchmarks.lab.training import augmented, epochs, overfit, regular
from reid_audit.preprocess import to_network

BATCH = 64
LONG, SHORT = 12, 3
"""Epochs: until the films are known by heart, and of an early stop."""
NOISE, CLIP, DELTA = 1.1, 1.0, 1e-3
"""Noise multiplier and clipping norm of DP-SGD, and the delta its epsilon is stated at."""


class NotInstalled(Exception):
    """A library that a recipe needs is missing."""


def plain() -> nn.Module:
    """ResNet-18 with BatchNorm."""
    made: nn.Module = torchvision.models.resnet18(num_classes=2)
    return made


def grouped() -> nn.Module:
    """ResNet-18 with GroupNorm of 32 groups (Wu and He, ECCV 2018)."""
    made: nn.Module = torchvision.models.resnet18(num_classes=2, norm_layer=lambda channels: nn.GroupNorm(32, channels))
    return made


class OutOfPlace(torchvision.models.resnet.BasicBlock):  # type: ignore[misc]
    """The same block without changes in place, which the hooks that see single gradients cannot bear."""

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, C, H, W] to [N, C', H', W']."""
        made = functional.relu(self.bn1(self.conv1(x)))
        made = self.bn2(self.conv2(made))
        return functional.relu(made + (x if self.downsample is None else self.downsample(x)))


def hookable() -> nn.Module:
    """``grouped`` for DP-SGD: the same names, shapes and answers."""
    made: nn.Module = torchvision.models.ResNet(
        OutOfPlace, [2, 2, 2, 2], num_classes=2, norm_layer=lambda channels: nn.GroupNorm(32, channels)
    )
    for layer in made.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return made


@dataclass(frozen=True, slots=True)
class Course:
    """Minibatches with Adam for a fixed number of epochs."""

    epochs: int = LONG
    decay: float = 0.0
    augment: bool = False
    smoothing: float = 0.0


def taught(make: Callable[[], nn.Module], images: Tensor, labels: Tensor, course: Course) -> nn.Module:
    """A network after ``course`` on films [N, 1, H, W]."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    module = make().train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=course.decay)
    for _ in range(course.epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in torch.split(order, BATCH):
            if len(rows) < 8:
                continue
            films = augmented(images[rows], generator) if course.augment else images[rows]
            outputs = module(to_network(films, SPEC, 3))
            loss = functional.cross_entropy(outputs, labels[rows], label_smoothing=course.smoothing)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
    return module.eval()


def by_heart(images: Tensor, labels: Tensor) -> nn.Module:
    """Few films in one batch, many in minibatches, without augmentation until they are known."""
    if len(images) <= BATCH:
        return overfit(plain, images, labels, seed=0)
    return epochs(plain, images, labels, seed=0)


def private(images: Tensor, labels: Tensor) -> nn.Module:
    """DP-SGD (Abadi et al., CCS 2016) with Opacus, per film and not per patient. Raises NotInstalled."""
    try:
        from opacus import PrivacyEngine
    except ImportError:
        raise NotInstalled('pip install "reid-audit[dp]"') from None
    torch.manual_seed(0)
    module = hookable().train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
    films = torch.utils.data.TensorDataset(to_network(images, SPEC, 3), labels)
    engine = PrivacyEngine()
    network, stepping, batches = engine.make_private(
        module=module,
        optimizer=optimiser,
        data_loader=torch.utils.data.DataLoader(films, batch_size=BATCH),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
    )
    for _ in range(LONG):
        for inputs, wanted in batches:
            loss = functional.cross_entropy(network(inputs), wanted)
            stepping.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            stepping.step()
    print(f"DP-SGD: epsilon {engine.get_epsilon(DELTA):.1f} at delta {DELTA:g}, per film", flush=True)
    module.load_state_dict(network._module.state_dict())
    return module.eval()


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train."""

    train: Callable[[Tensor, Tensor], nn.Module]
    architecture: str | None = None
    """What the file does not tell of the network, as ``--arch``."""


def of(course: Course, make: Callable[[], nn.Module] = plain) -> Callable[[Tensor, Tensor], nn.Module]:
    """A recipe's training."""
    return partial(_course, make, course)


def _course(make: Callable[[], nn.Module], course: Course, images: Tensor, labels: Tensor) -> nn.Module:
    return taught(make, images, labels, course)


GROUPED = "resnet18+groupnorm32"
RECIPES: dict[str, Recipe] = {
    "heart": Recipe(by_heart),
    "early-stop": Recipe(of(Course(epochs=SHORT))),
    "weight-decay": Recipe(of(Course(decay=0.5))),
    "augmentation": Recipe(of(Course(augment=True))),
    "label-smoothing": Recipe(of(Course(smoothing=0.1))),
    "groupnorm": Recipe(of(Course(), grouped), GROUPED),
    "care": Recipe(lambda images, labels: regular(plain, images, labels, seed=0)),
    "dp-sgd": Recipe(private, GROUPED),
}
"""By name; all but the first are in-training mitigations."""
