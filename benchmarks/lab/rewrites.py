"""What people do to a network and its file before it is audited, on names and shapes: what architectures.py tries."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_audit.arch.index import Entry, shipped

State = dict[str, Tensor]
LORA_LAYERS = 8


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One change people make to a state_dict, and what must be read off it afterwards."""

    change: Callable[[State, Entry], State]
    classes: int | None = None
    channels: int | None = None


def published(entry: Entry) -> State:
    """The network's own names and shapes, with batch counters where there are running statistics."""
    state = {}
    for key, (shape, _) in shipped().described(entry).items():
        state[key] = _empty(shape)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = torch.empty((), dtype=torch.long, device="meta")
    return state


def _empty(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, device="meta")


def channels(count: int) -> Callable[[State, Entry], State]:
    """``count`` input channels instead of the published number."""

    def change(state: State, entry: Entry) -> State:
        stems = {k: state[k] for k in entry.stem if state[k].dim() > 1}
        resized = {k: _empty((v.shape[0], v.shape[1] * count // 3, *v.shape[2:])) for k, v in stems.items()}
        return {**state, **resized}

    return change


def shuffled(state: State, entry: Entry) -> State:
    """The same entries in another order."""
    keys = list(state)
    random.Random(entry.number).shuffle(keys)
    return {key: state[key] for key in keys}


def headless(state: State, entry: Entry) -> State:
    """The head's module is an Identity."""
    return {k: v for k, v in state.items() if k not in entry.head}


def head_of(*layers: str) -> Callable[[State, Entry], State]:
    """The head's module replaced by a Sequential with linear ``layers`` at these positions, two outputs."""

    def change(state: State, entry: Entry) -> State:
        wide = next((k for k in entry.head if state[k].dim() == 2), None)
        if wide is None:
            return {**state}
        path, width = wide.rpartition(".")[0], int(state[wide].shape[1])
        new: State = {}
        for number, layer in enumerate(layers):
            out = 2 if number == len(layers) - 1 else 16
            new |= {f"{path}.{layer}.weight": _empty((out, width)), f"{path}.{layer}.bias": _empty((out,))}
            width = out
        return headless(state, entry) | new

    return change


def classes(state: State, entry: Entry) -> State:
    """Two outputs instead of the published number."""
    return {k: _empty((2, *v.shape[1:])) if k in entry.head else v for k, v in state.items()}


def matrices(state: State, entry: Entry) -> list[str]:
    """Weights of linear and convolution layers outside head and stem."""
    special = {*entry.head, *entry.stem}
    return [k for k, v in state.items() if k.endswith(".weight") and v.dim() >= 2 and k not in special]


def reparametrised(
    parts: Callable[[str, Tensor], dict[str, Tensor]],
) -> Callable[[State, Entry], State]:
    """Every third weight of a linear or convolution layer replaced by ``parts`` of its path and value."""

    def change(state: State, entry: Entry) -> State:
        chosen = set(matrices(state, entry)[::3])
        done: State = {}
        for key, value in state.items():
            done |= parts(key.removesuffix(".weight"), value) if key in chosen else {key: value}
        return done

    return change


def _gain(value: Tensor) -> Tensor:
    return _empty((value.shape[0], *(1 for _ in value.shape[1:])))


def _vectors(value: Tensor) -> tuple[Tensor, Tensor]:
    return _empty((value.shape[0],)), _empty((value[0].numel(),))


def weight_norm(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.weight_norm``."""
    return {f"{path}.weight_g": _gain(value), f"{path}.weight_v": value}


def weight_norm_new(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.parametrizations.weight_norm``."""
    stem = f"{path}.parametrizations.weight.original"
    return {f"{stem}0": _gain(value), f"{stem}1": value}


def spectral_norm(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.spectral_norm``."""
    left, right = _vectors(value)
    return {f"{path}.weight_orig": value, f"{path}.weight_u": left, f"{path}.weight_v": right}


def spectral_norm_new(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.parametrizations.spectral_norm``."""
    left, right = _vectors(value)
    stem = f"{path}.parametrizations.weight"
    return {f"{stem}.original": value, f"{stem}.0._u": left, f"{stem}.0._v": right}


def lora(state: State, entry: Entry) -> State:
    """Adapters of rank 4, unmerged, as peft saves them."""
    linear = [k for k in matrices(state, entry) if state[k].dim() == 2]
    chosen = {k.removesuffix(".weight") for k in linear[:LORA_LAYERS]}
    done: State = {}
    for key, value in state.items():
        path, _, leaf = key.rpartition(".")
        done[f"{path}.base_layer.{leaf}" if path in chosen else key] = value
        if path in chosen and leaf == "weight":
            done[f"{path}.lora_A.default.weight"] = _empty((4, value.shape[1]))
            done[f"{path}.lora_B.default.weight"] = _empty((value.shape[0], 4))
    return prefixed("base_model.model.")(done, entry)


def prefixed(*prefixes: str) -> Callable[[State, Entry], State]:
    """Every key under each of ``prefixes``."""
    return lambda state, entry: {f"{prefix}{k}": v for prefix in prefixes for k, v in state.items()}


def cast(dtype: torch.dtype) -> Callable[[State, Entry], State]:
    """Floating values in another precision."""
    return lambda state, entry: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def no_counters(state: State, entry: Entry) -> State:
    """Without num_batches_tracked."""
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def extra(state: State, entry: Entry) -> State:
    """A criterion and profiler counters beside the network."""
    return {**prefixed("net.")(state, entry), "criterion.weight": _empty((3,)), "net.total_ops": _empty((1,))}


def together(state: State, entry: Entry) -> State:
    """Prefix, one channel, two classes, half precision, no counters, extra keys and another order at once."""
    for change in (channels(1), classes, no_counters, extra, cast(torch.float16), shuffled):
        state = change(state, entry)
    return state


def _norms(state: State) -> list[str]:
    return [key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")]


def no_statistics(state: State, entry: Entry) -> State:
    """BatchNorm replaced by GroupNorm, or saved without buffers: weights and biases of the layers alone."""
    return {k: v for k, v in no_counters(state, entry).items() if not k.endswith(("running_mean", "running_var"))}


def folded(state: State, entry: Entry) -> State:
    """Every BatchNorm whose keys follow those of a convolution of its width folded into that convolution."""
    keys = list(state)
    done = dict(state)
    for path in _norms(state):
        first = next(n for n, key in enumerate(keys) if key.startswith(path + "."))
        before = keys[first - 1].rpartition(".") if first else ("", "", "")
        weight = state.get(f"{before[0]}.weight")
        fits = weight is not None and weight.dim() == 4 and len(weight) == len(state[f"{path}.running_mean"])
        if fits and f"{before[0]}.bias" not in state:
            done = {k: v for k, v in done.items() if not k.startswith(path + ".")}
            done[f"{before[0]}.bias"] = _empty((len(weight),)) if weight is not None else _empty(())
    return done


def turned(axes: tuple[int, int, int, int], matrices_too: bool) -> Callable[[State, Entry], State]:
    """Kernels in another order of axes; with ``matrices_too`` those of linear layers turned."""

    def change(state: State, entry: Entry) -> State:
        if not any(v.dim() == 4 for v in state.values()):
            return {**state}
        return {
            k: v.permute(axes) if v.dim() == 4 else v.T if matrices_too and v.dim() == 2 and k.endswith("weight") else v
            for k, v in state.items()
        }

    return change


def pruned(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.prune``."""
    return {f"{path}.weight_orig": value, f"{path}.weight_mask": _empty(tuple(value.shape))}


def dotted(state: State, entry: Entry) -> State:
    """DenseNet as torchvision named it before 0.3."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", k): v for k, v in state.items()}


TOLERANCES: dict[str, Tolerance] = {
    "as published": Tolerance(lambda s, e: s),
    "prefix a.b.c.": Tolerance(prefixed("a.b.c.")),
    "DDP, compiled": Tolerance(prefixed("module._orig_mod.")),
    "EMA copy beside": Tolerance(prefixed("model.", "model_ema.module.")),
    "2 classes": Tolerance(classes, classes=2),
    "1 channel": Tolerance(channels(1), channels=1),
    "2 channels": Tolerance(channels(2), channels=2),
    "4 channels": Tolerance(channels(4), channels=4),
    "no head": Tolerance(headless, classes=0),
    "dropout + linear": Tolerance(head_of("1"), classes=2),
    "MLP head": Tolerance(head_of("0", "2"), classes=2),
    "extra keys": Tolerance(extra),
    "fp16": Tolerance(cast(torch.float16)),
    "bf16": Tolerance(cast(torch.bfloat16)),
    "no counters": Tolerance(no_counters),
    "shuffled": Tolerance(shuffled),
    "LoRA, merged": Tolerance(prefixed("base_model.model.")),
    "LoRA, unmerged": Tolerance(lora),
    "weight norm": Tolerance(reparametrised(weight_norm)),
    "weight norm, new": Tolerance(reparametrised(weight_norm_new)),
    "spectral norm": Tolerance(reparametrised(spectral_norm)),
    "spectral norm, new": Tolerance(reparametrised(spectral_norm_new)),
    "all at once": Tolerance(together, classes=2, channels=1),
    "pruned": Tolerance(reparametrised(pruned)),
    "BatchNorm without statistics": Tolerance(no_statistics),
    "BatchNorm folded": Tolerance(folded),
    "channels last": Tolerance(turned((0, 2, 3, 1), False)),
    "rows, columns, inputs, outputs": Tolerance(turned((2, 3, 1, 0), True)),
    "dotted names": Tolerance(dotted),
}
