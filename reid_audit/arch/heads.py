"""Heads that are not the library's: found, told apart from projection heads, and rebuilt from their keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import torch
from torch import Tensor, nn

from reid_audit.arch.fit import Fit, head_regions
from reid_audit.errors import ArchitectureError

MOMENTUM = re.compile(
    r"(^|\.)(queue|queue_ptr|encoder_k|momentum_encoder|key_encoder|target_encoder|teacher|prototypes"
    r"|(?:backbone|projection_head|encoder|projector)_(?:momentum|ema|m))(\.|$)"
)
"""Second networks and memories that only contrastive training keeps (MoCo, BYOL, DINO, SwAV)."""
PROJECTION = re.compile(
    r"(^|\.)((?!in(put)?_|patch_)\w*proj\w*|\w*predict(or|ion)_?(head|mlp)?|contrastive\w*|last_layer|nce\w*|prototypes)(\.|$)"
)
BESIDE = re.compile(
    r"^(?:[\w]+\.)?(fc|fc_?\d|fc_?out|head|heads|classifier|classification_head|cls|cls_head|clf|linear|last_linear|out|output"
    r"|logits?|final|top|linear_head|linear_layer|lin)\.(?P<rest>.+)$"
)
"""Names under which people keep a classifier next to a backbone."""
NORM_DOUBT = "a normalisation in the head stores no running statistics: LayerNorm is assumed"
ORDERED_AT_MOST = 6


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What ends the network."""

    classes: int
    """Outputs; 0: features."""
    region: str | None = None
    """Module path at which a head of its own has to be put; None: the library's head, or none at all."""
    keys: Mapping[str, Tensor] = field(default_factory=dict)
    """Entries of the head to rebuild, named relative to ``region``."""
    taken: frozenset[str] = frozenset()
    """Keys of ``Fit.extra`` and ``Fit.outside`` that are the head's."""
    contrastive: bool = False
    """Whether the network was trained by comparing films: what it ends in then is thrown away."""
    projection: frozenset[str] = frozenset()
    """Keys of ``Fit.extra`` in the place of the head that are thrown away."""


def read_head(fit: Fit, evidence: list[str]) -> Head:
    """Read the head off the keys; assumptions are added to ``evidence``."""
    if not fit.entry.head:
        return Head(0)
    below = tuple(f"{region}." for region in head_regions(fit.entry, fit.described))
    present = [key for key in fit.state if key.startswith(below)]
    if contrastive(fit, present):
        evidence.append("contrastive training (second network, queue or projection head): the backbone is audited")
        return Head(0, contrastive=True, projection=frozenset(present))
    if _plain(fit) and set(present) <= set(fit.described):
        return Head(int(fit.state[fit.entry.head[0]].shape[0]))
    if present:
        region = place(fit.entry.head[0], present)
        evidence.append(f"{region} is not the library's: rebuilt from its keys, ReLU assumed between its linear layers")
        own = {k[len(region) + 1 :]: fit.state[k] for k in present if k.startswith(region + ".")}
        return _own(region, own, present)
    beside = _beside(fit)
    if beside is not None:
        name, keys = beside
        evidence.append(f"{name} beside the network is taken as its head, ReLU assumed between its linear layers")
        return _own(place(fit.entry.head[0], ()), keys, [f"{name}.{key}" for key in keys])
    return Head(0)


def contrastive(fit: Fit, present: Iterable[str]) -> bool:
    """Whether the head is a projection that is thrown away after self-supervised training."""
    if any(MOMENTUM.search(key) for key in (*fit.outside, *fit.extra)):
        return True
    library = fit.entry.head[0].rpartition(".")[0] + "."
    return any(PROJECTION.search(key.removeprefix(library)) for key in present if key not in fit.described)


def place(key: str, present: Iterable[str]) -> str:
    """The deepest module at or above the library's head ``key`` that holds all of ``present``."""
    region = key.rpartition(".")[0]
    names = list(present)
    while "." in region and not all(name.startswith(region + ".") for name in names):
        region = region.rpartition(".")[0]
    return region


def _plain(fit: Fit) -> bool:
    return all(k in fit.state and fit.state[k].shape[1:] == fit.described[k][0][1:] for k in fit.entry.head)


def _own(region: str, keys: Mapping[str, Tensor], taken: Iterable[str]) -> Head:
    ends = [tensors for _, tensors in in_order(keys) if tensors["weight"].dim() >= 2]
    return Head(int(ends[-1]["weight"].shape[0]) if ends else 0, region, keys, frozenset(taken))


def _beside(fit: Fit) -> tuple[str, dict[str, Tensor]] | None:
    """One group of linear layers outside the backbone's prefix that starts from the backbone's features.

    A convolution of one pixel over pooled features is a linear layer.
    """
    width = next((s[1] for k in fit.entry.head if len(s := fit.described[k][0]) >= 2), 0)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in (fit.outside | {k: fit.state[k] for k in fit.extra}).items():
        found = BESIDE.match(key)
        if found:
            point = value.dim() == 4 and value.shape[2:] == (1, 1)
            linear = value.flatten(1) if point else value
            groups.setdefault(key[: found.start("rest") - 1], {})[found["rest"]] = linear
    numbered = [name for name in groups if name[-1].isdigit()]
    single = groups if len(numbered) < 2 else {name: keys for name, keys in groups.items() if name not in numbered}
    fitting = [(name, keys) for name, keys in single.items() if _starts_from(keys, width)]
    return fitting[0] if len(fitting) == 1 else None


def unsure(head: Head) -> tuple[str, ...]:
    """The doubt where a rebuilt head holds a normalisation without statistics: it may be BatchNorm or GroupNorm."""
    norms = {k.rpartition(".")[0] for k, v in head.keys.items() if k.rpartition(".")[2] == "weight" and v.dim() == 1}
    stored = {key.rpartition(".")[0] for key in head.keys if key.endswith("running_mean")}
    return (NORM_DOUBT,) if norms - stored else ()


def _starts_from(keys: Mapping[str, Tensor], width: int) -> bool:
    if any(PROJECTION.search(key) for key in keys):
        return False
    try:
        layers = in_order(keys)
    except ArchitectureError:
        return False
    first = layers[0][1]["weight"]
    return int(first.shape[1] if first.dim() == 2 else first.shape[0]) == width and any(
        tensors["weight"].dim() == 2 for _, tensors in layers
    )


Layer = tuple[str, dict[str, Tensor]]


def in_order(keys: Mapping[str, Tensor]) -> list[Layer]:
    """(path, tensors) of each layer in the order in which widths chain: the file's, the numbered, else any that does.

    Raises ArchitectureError where a layer has no weight, or a bias of another width, or where no order chains.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in keys.items():
        path, _, leaf = key.rpartition(".")
        groups.setdefault(path, {})[leaf] = value
    if not all(_one_layer(tensors) for tensors in groups.values()):
        raise _head_error(keys)
    layers: list[Layer] = list(groups.items())
    numbered = sorted(layers, key=lambda layer: [int(n) for n in re.findall(r"\d+", layer[0])])
    for order in (numbered if all(re.search(r"\d", path) for path in groups) else layers, layers):
        if chains(order):
            return list(order)
    if len(layers) <= ORDERED_AT_MOST:
        for other in permutations(layers):
            if chains(other):
                return list(other)
    raise _head_error(keys)


def _one_layer(tensors: Mapping[str, Tensor]) -> bool:
    """Whether there is a weight, and everything else has one value for each of its outputs."""
    weight = tensors.get("weight")
    return weight is not None and all(v.shape == weight.shape[:1] for k, v in tensors.items() if k != "weight")


def chains(layers: Sequence[Layer]) -> bool:
    """Whether each layer takes as many features as the one before it gives."""
    width: int | None = None
    for _, tensors in layers:
        weight = tensors["weight"]
        taken, given = (int(weight.shape[1]), int(weight.shape[0])) if weight.dim() > 1 else (len(weight), len(weight))
        if width not in (None, taken):
            return False
        width = given
    return True


def rebuild_head(keys: Mapping[str, Tensor]) -> nn.Module:
    """A head from its keys (relative to its module), loaded: linear, convolution and normalisation layers in order.

    Before every linear layer but the first a ReLU is assumed: an activation has no weights. Dropout does nothing in
    evaluation mode. Raises ArchitectureError.
    """
    layers = in_order(keys)
    if [path for path, _ in layers] == [""]:
        return _layer(layers[0][1])
    root = nn.Module()
    steps: list[nn.Module] = []
    for path, tensors in layers:
        layer = _layer(tensors)
        if steps and isinstance(layer, nn.Linear):
            steps.append(nn.ReLU())
        steps.append(layer)
        _attach(root, path, layer)
    return RebuiltHead(root, steps)


class RebuiltHead(nn.Module):
    """Layers under their original names, run in order."""

    def __init__(self, named: nn.Module, steps: list[nn.Module]) -> None:
        super().__init__()
        for name, child in named.named_children():
            self.add_module(name, child)
        self._steps = tuple(steps)

    def forward(self, features: Tensor) -> Tensor:
        """features [N, D] -> logits [N, classes]."""
        for step in self._steps:
            features = step(features)
        return features


def _attach(root: nn.Module, path: str, layer: nn.Module) -> None:
    node = root
    *parents, leaf = path.split(".")
    for part in parents:
        if not hasattr(node, part):
            node.add_module(part, nn.Module())
        node = node.get_submodule(part)
    node.add_module(leaf, layer)


def _layer(tensors: Mapping[str, Tensor]) -> nn.Module:
    """One layer with its weights."""
    weight = tensors["weight"]
    made: nn.Module
    with torch.random.fork_rng(devices=[]):
        if "running_mean" in tensors:
            made = nn.BatchNorm1d(weight.shape[0])
        elif weight.dim() == 1:
            made = nn.LayerNorm(weight.shape[0])
        elif weight.dim() == 2:
            made = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors)
        elif weight.dim() == 4:
            size = (int(weight.shape[2]), int(weight.shape[3]))
            made = nn.Conv2d(int(weight.shape[1]), int(weight.shape[0]), size, bias="bias" in tensors)
        else:
            raise _head_error(tensors)
    made.load_state_dict(dict(tensors), strict=False)
    return made


def _head_error(tensors: Mapping[str, Tensor]) -> ArchitectureError:
    return ArchitectureError(
        "the head is made of layers that cannot be told from their keys",
        closest=", ".join(re.sub(r"[^\w.]", "?", k)[:40] for k in list(tensors)[:4]),
        remedy="give the constructor: --arch-factory package.module:function",
    )
