"""Make the index: every network is built on the meta device and its keys and shapes are written down."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid_audit.arch import catalogue
from reid_audit.arch.catalogue import Build
from reid_audit.arch.index import pack
from reid_audit.observer import Observer, StageAdvanced, StageEnded, StageStarted

PROBE_CLASSES = 7
"""Unlike any width in the libraries, so that a dimension of 7 that appears can only be the head."""
NORMALISATION = re.compile(r"(BatchNorm|LayerNorm|GroupNorm|InstanceNorm|RmsNorm|FrozenBatchNorm)", re.IGNORECASE)
CANONICAL = {
    "batchnorm": "BatchNorm2d",
    "frozenbatchnorm": "BatchNorm2d",
    "layernorm": "LayerNorm",
    "groupnorm": "GroupNorm",
    "instancenorm": "InstanceNorm2d",
    "rmsnorm": "RMSNorm",
}
REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError)
"""What libraries raise where a network has no such option; its published configuration decides then."""
Entry = dict[str, Any]


def signature(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Floating-point entries of the state_dict in order (counters and index tables hold no weights)."""
    return {k: tuple(v.shape) for k, v in module.state_dict().items() if v.is_floating_point()}


def normalisation(module: nn.Module) -> dict[str, int]:
    """Normalisation layers by type, timm's fused variants counted as the plain ones."""
    counts: Counter[str] = Counter()
    for child in module.modules():
        found = NORMALISATION.match(type(child).__name__)
        if found:
            counts[CANONICAL[found.group(1).lower()]] += 1
    return dict(counts)


def describe(library: str, name: str) -> Entry:
    """Keys, shapes, head and stem of one network. Two builds: as published, and with other classes and channels."""
    module = catalogue.construct_meta(Build(library, name))
    shapes = signature(module)
    head, stem = _varying(library, name, shapes, module)
    config = getattr(module, "default_cfg", None) or {}
    size = config.get("input_size") or (3, 224, 224)
    return {
        "library": library,
        "name": name,
        "family": _family(module),
        "side": int(size[-1]),
        "head": head,
        "stem": stem,
        "segmentation": library == "torchvision" and type(module).__module__.startswith("torchvision.models.segm"),
        "normalisation": normalisation(module),
        "shapes": shapes,
    }


def _varying(
    library: str, name: str, shapes: dict[str, tuple[int, ...]], module: nn.Module
) -> tuple[list[str], list[str]]:
    """Keys whose shape follows num_classes, and keys whose shape follows the input channels."""
    head, stem = _from_config(module, shapes)
    with suppress(*REFUSALS):
        other = signature(catalogue.construct_meta(Build(library, name, classes=PROBE_CLASSES)))
        changed = [k for k, s in shapes.items() if other.get(k, s) != s]
        head = changed or head
    with suppress(*REFUSALS):
        grey = signature(catalogue.construct_meta(Build(library, name, channels=1)))
        stem = [k for k, s in shapes.items() if k not in head and grey.get(k, s) != s] or stem
    return head, stem


def _from_config(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> tuple[list[str], list[str]]:
    config = getattr(module, "default_cfg", None) or {}

    def under(paths: str | tuple[str, ...] | None) -> list[str]:
        wanted = (paths,) if isinstance(paths, str) else tuple(paths or ())
        return [k for k in shapes if any(k.startswith(p + ".") for p in wanted)]

    return under(config.get("classifier")), [k for k in under(config.get("first_conv")) if k.endswith("weight")]


def _family(module: nn.Module) -> str:
    return type(module).__module__.rpartition(".")[2].removeprefix("_")


def collect(observer: Observer) -> list[Entry]:
    """Describe every network of every library."""
    wanted = [(library, name) for library in catalogue.LIBRARIES for name in catalogue.names(library)]
    observer.notice(StageStarted("index", len(wanted)))
    entries = []
    for step, (library, name) in enumerate(wanted, start=1):
        with torch.no_grad():
            entries.append(describe(library, name))
        observer.notice(StageAdvanced("index", step))
    observer.notice(StageEnded("index", f"{len(entries)} networks"))
    return entries


def write(path: Path, observer: Observer) -> int:
    """Build the index of the installed libraries into ``path``; returns the number of networks."""
    entries = collect(observer)
    path.write_bytes(pack(entries, catalogue.versions()))
    return len(entries)
