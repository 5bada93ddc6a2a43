"""BatchNorm layers that are not as published: replaced, saved without their statistics, or folded into convolutions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_audit.errors import ArchitectureError

Shape = tuple[int, ...]
Kind = Literal["published", "without statistics", "folded", "without weights"]
OWN = ("weight", "bias", "running_mean", "running_var")
STATISTICS = ("running_mean", "running_var")
CHOICE = re.compile(r"^(?P<name>[^+]*)\+(?P<norm>groupnorm(?P<groups>\d*)|instancenorm|batchnorm)$")
GROUPS = 32
"""Groups that most people ask for, and what Opacus makes of BatchNorm."""
ASSUMED = "the normalisation layers store no running statistics: GroupNorm with at most 32 groups is assumed"
BARE = "the normalisation layers store nothing at all: InstanceNorm without weights is assumed"
FOLDED = "BatchNorm is folded into the convolutions before it: its statistics are part of their weights"
DOUBT = (
    "GroupNorm, InstanceNorm and BatchNorm saved without its statistics have the same keys "
    "(--arch +groupnorm32, +instancenorm, +batchnorm decide)"
)
MISSING = (
    "statistics missing: BatchNorm was saved without its running statistics (parameters without buffers), so the "
    "network does not run as it was trained; each film is normalised by itself"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``--arch NAME+...`` says about the normalisation layers."""

    norm: Literal["groupnorm", "instancenorm", "batchnorm"] | None = None
    groups: int = 0
    """Of every GroupNorm; 0: at most 32, as many as divide the channels."""


@dataclass(frozen=True, slots=True)
class Norms:
    """Which BatchNorm layers of a network a file holds otherwise, and how."""

    kind: Kind = "published"
    layers: frozenset[str] = frozenset()
    """Module paths of the layers that have to be replaced."""
    biases: frozenset[str] = frozenset()
    """Biases that folding gave to convolutions which have none as published."""

    def absent(self, key: str) -> bool:
        """Whether the file need not hold ``key`` of the published network."""
        path, _, leaf = key.rpartition(".")
        if path not in self.layers:
            return False
        return leaf in (STATISTICS if self.kind == "without statistics" else OWN)


PUBLISHED = Norms()
OPEN = Choice()


def choice(name: str | None) -> tuple[str | None, Choice]:
    """``--arch`` apart: the network's name, or None, and what it says after a plus. Raises ArchitectureError."""
    if name is None or "+" not in name:
        return name, Choice()
    found = CHOICE.match(name.lower())
    if not found:
        raise ArchitectureError(
            f"--arch {name[:80]} does not name a normalisation",
            closest="NAME+groupnorm, NAME+groupnorm16, NAME+instancenorm, NAME+batchnorm; NAME may be left out",
            remedy="write one of these after the plus, or leave it out",
        )
    norm = found["norm"].rstrip("0123456789")
    bare = name.partition("+")[0]
    return bare or None, Choice(norm, int(found["groups"] or 0))  # type: ignore[arg-type]


def read(wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> Norms:
    """How a file with the shapes ``given`` holds the BatchNorm layers of a network with the shapes ``wanted``."""
    layers = {key.removesuffix(".running_mean") for key in wanted if key.endswith(".running_mean")}
    held = {path: [leaf for leaf in OWN if f"{path}.{leaf}" in given] for path in layers}
    gone = frozenset(path for path, leaves in held.items() if not leaves)
    bare = frozenset(p for p, leaves in held.items() if leaves and not any(leaf in STATISTICS for leaf in leaves))
    if bare and bare == layers:
        return Norms("without statistics", bare)
    if not gone or bare:
        return PUBLISHED
    folded = _folded(gone, wanted, given)
    whole = gone == layers and not _added(wanted, given)
    return Norms("without weights", gone) if whole and folded is PUBLISHED else folded


def _added(wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> dict[str, int]:
    """{bias that the published network does not have: outputs of the layer it belongs to}."""
    found = {}
    for key, shape in given.items():
        weight = wanted.get(key.removesuffix("bias") + "weight")
        if key.endswith(".bias") and key not in wanted and weight is not None and len(weight) > 1:
            found[key] = shape[0] if shape == weight[:1] else 0
    return found


def _folded(gone: frozenset[str], wanted: Mapping[str, Shape], given: Mapping[str, Shape]) -> Norms:
    """Folding gives as many biases as it takes layers, with the same widths, but for convolutions that had one."""
    added = _added(wanted, given)
    widths = Counter(wanted[f"{path}.running_mean"][0] for path in gone)
    spare = Counter(
        shape[0] for key, shape in wanted.items() if key.endswith(".bias") and _is_kernel(wanted, key) and shape
    )
    counts = Counter(added.values())
    if counts - widths or (widths - counts) - spare:
        return PUBLISHED
    return Norms("folded", gone, frozenset(added))


def _is_kernel(wanted: Mapping[str, Shape], bias: str) -> bool:
    return len(wanted.get(bias.removesuffix("bias") + "weight", ())) > 1


class GroupNormLike(nn.Module):
    """A group normalisation in the place of a BatchNorm: its keys, and the activation it may carry (timm)."""

    def __init__(self, old: _BatchNorm, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.eps = 1e-5
        self.weight = None if old.weight is None else nn.Parameter(torch.empty_like(old.weight))
        self.bias = None if old.bias is None else nn.Parameter(torch.empty_like(old.bias))
        self.drop: nn.Module = getattr(old, "drop", nn.Identity())
        self.act: nn.Module = getattr(old, "act", nn.Identity())

    def forward(self, features: Tensor) -> Tensor:
        """features [N, C, ...] -> the same shape, normalised within each film and group of channels."""
        normalised = torch.group_norm(features, self.groups, self.weight, self.bias, self.eps)
        output: Tensor = self.act(self.drop(normalised))
        return output


class InstanceNormLike(GroupNormLike):
    """Every channel normalised by itself, within each film."""

    def __init__(self, old: _BatchNorm) -> None:
        super().__init__(old, old.num_features)


class BatchNormWithoutStatistics(InstanceNormLike):
    """BatchNorm whose running statistics are lost: each film stands for its batch, so films do not mix."""

    def forward(self, features: Tensor) -> Tensor:
        """features [N, C, ...] -> the same shape; a channel of one value is scaled and shifted only."""
        if features[0, 0].numel() > 1:
            return super().forward(features)
        shape = (1, -1, *[1] * (features.dim() - 2))
        if self.weight is not None and self.bias is not None:
            features = features * self.weight.view(shape) + self.bias.view(shape)
        output: Tensor = self.act(self.drop(features))
        return output


def adapt(module: nn.Module, norms: Norms, wish: Choice) -> nn.Module:
    """``module`` with the layers of ``norms`` replaced as the file holds them; changed in place, and returned."""
    for path in sorted(norms.layers):
        old = module.get_submodule(path)
        if not isinstance(old, _BatchNorm):
            continue
        parent, _, leaf = path.rpartition(".")
        setattr(module.get_submodule(parent), leaf, _replacement(old, norms, wish))
    for key in sorted(norms.biases):
        layer = module.get_submodule(key.removesuffix(".bias"))
        weight = layer.get_parameter("weight")
        layer.register_parameter("bias", nn.Parameter(weight.new_empty(weight.shape[0])))
    return module


def _replacement(old: _BatchNorm, norms: Norms, wish: Choice) -> nn.Module:
    if norms.kind == "folded":
        return nn.Sequential(getattr(old, "drop", nn.Identity()), getattr(old, "act", nn.Identity()))
    if norms.kind == "without weights":
        old.register_parameter("weight", None)
        old.register_parameter("bias", None)
    norm = wish.norm or ("groupnorm" if norms.kind == "without statistics" else "instancenorm")
    if norm == "groupnorm":
        return GroupNormLike(old, groups(old.num_features, wish.groups))
    return InstanceNormLike(old) if norm == "instancenorm" else BatchNormWithoutStatistics(old)


def groups(channels: int, wanted: int) -> int:
    """Groups of a GroupNorm over ``channels``; min(32, channels) where that divides them, else their divisor of 32.

    Raises ArchitectureError where ``wanted`` groups do not divide the channels.
    """
    if wanted:
        if channels % wanted:
            raise ArchitectureError(
                f"{wanted} groups do not divide {channels} channels",
                closest=f"{gcd(wanted, channels)} groups would",
                remedy="--arch +groupnorm without a number takes at most 32 groups, as many as divide the channels",
            )
        return wanted
    few = min(GROUPS, channels)
    return few if channels % few == 0 else gcd(GROUPS, channels)


def unheard(norms: Norms, wish: Choice) -> bool:
    """Whether ``--arch NAME+...`` says something that the network has no place for."""
    return wish.norm is not None and norms.kind not in ("without statistics", "without weights")


def reading(norms: Norms, wish: Choice) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(evidence, doubts) about the normalisation, in fixed wordings."""
    if norms.kind == "published":
        return (), ()
    if norms.kind == "folded":
        return (FOLDED,), ()
    if wish.norm == "batchnorm":
        return (), (MISSING,)
    if wish.norm is not None:
        number = str(wish.groups) if wish.groups else ""
        return (f"--arch says that the normalisation is {wish.norm}{number}",), ()
    return (ASSUMED,) if norms.kind == "without statistics" else (BARE,), (DOUBT,)


def statistics(norms: Norms, wish: Choice) -> Literal["none", "missing"]:
    """Whether a file without running statistics lacks what BatchNorm would need."""
    lost = norms.kind == "without statistics" and wish.norm in (None, "batchnorm")
    return "missing" if lost else "none"


def counted(published: Iterable[tuple[str, int]], norms: Norms, wish: Choice) -> tuple[tuple[str, int], ...]:
    """(layer type, count) after the replacement."""
    counts = Counter(dict(published))
    for name in [name for name in counts if name.startswith("BatchNorm")]:
        counts[name] -= min(counts[name], len(norms.layers))
        break
    new = {"groupnorm": "GroupNorm", "instancenorm": "InstanceNorm2d", "batchnorm": "BatchNorm2d"}
    if norms.kind in ("without statistics", "without weights"):
        usual = "groupnorm" if norms.kind == "without statistics" else "instancenorm"
        counts[new[wish.norm or usual]] += len(norms.layers)
    return tuple(sorted((name, count) for name, count in counts.items() if count > 0))
