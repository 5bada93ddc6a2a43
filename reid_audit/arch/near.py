"""Refusals of identification: the closest architecture, what contradicts it, and what can be done."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from torch import Tensor

from reid_audit.errors import ArchitectureError

Shape = tuple[int, ...]
FACTORY = "give the constructor of the network that was trained: --arch-factory package.module:function"
FLAT = "give --arch-factory a wrapper that takes two-dimensional films: docs/how-to/volumes.md has one for volumes"
HEAD_LAYERS = 8
"""Matrices that a head has at most."""
NAME = 80
"""Characters of a key that are shown."""


class Mismatch(ArchitectureError):
    """Keys or shapes are not those of the network: what ``--arch`` or its absence can change."""


def by(shape: Iterable[int]) -> str:
    """``64x3x7x7``; one number for a vector, ``scalar`` for a single value."""
    return "x".join(map(str, shape)) or "scalar"


def counted(word: str, keys: list[str]) -> str:
    """``first missing conv1.weight (of 3)``, or ``none missing``."""
    if not keys:
        return f"none {word}"
    return f"first {word} {keys[0][:NAME]}" + (f" (of {len(keys)})" if len(keys) > 1 else "")


def contradiction(wanted: Mapping[str, Shape], given: Mapping[str, Shape], missing: Iterable[str]) -> str:
    """Which keys are there with another shape, which are not there; ``missing`` holds both."""
    lacking = list(missing)
    other = [key for key in lacking if key in given]
    absent = [key for key in lacking if key not in given]
    if not other:
        return counted("missing", absent)
    first = other[0]
    shapes = f"{first[:NAME]} is {by(given[first])} instead of {by(wanted[first])}"
    more = f", {len(other)} keys have another shape" if len(other) > 1 else ""
    return f"{shapes}{more}; {counted('missing', absent)}"


def kind(state: Mapping[str, Tensor]) -> str | None:
    """What the kernels say the network takes, where that is no two-dimensional image."""
    weights = [value for key, value in state.items() if key.endswith("weight")]
    if any(value.dim() == 5 for value in weights):
        return "volumes (3-D network)"
    signals = sum(value.dim() == 3 and value.shape[-1] > 1 for value in weights)
    if signals > 1 and not any(value.dim() == 4 for value in weights):
        return "signals (1-D network)"
    return None


def other_input(state: Mapping[str, Tensor], closest: str = "", *, label: str = "network") -> ArchitectureError | None:
    """The refusal of a network whose kernels are not those of images; None where they are."""
    found = kind(state)
    if found is None:
        return None
    deep = 5 if "3-D" in found else 3
    shaped = {k: v.shape for k, v in state.items() if v.dim() == deep and k.endswith("weight")}
    key, shape = next(iter(shaped.items()))
    kernels = f"{key[:NAME]} is a kernel of {by(shape)}, one of {len(shaped)}"
    return ArchitectureError(
        f"the state_dict is a {label} for {found}", closest=f"{kernels}; {closest}".rstrip("; "), remedy=FLAT
    )


def head_alone(state: Mapping[str, Tensor]) -> ArchitectureError | None:
    """The refusal of linear layers without anything that takes an image; None for every other file."""
    matrices = [key for key, value in state.items() if value.dim() == 2]
    if not matrices or len(matrices) > HEAD_LAYERS or any(value.dim() > 2 for value in state.values()):
        return None
    first = state[matrices[0]]
    return ArchitectureError(
        "the file holds a head without the encoder whose features it takes",
        closest=f"{len(matrices)} linear layers and no kernel; {matrices[0][:NAME]} takes {first.shape[1]} features",
        remedy="put both into one file, and name the encoder's own with --base: docs/how-to/other-networks.md",
    )


def unknown(state: Mapping[str, Tensor]) -> ArchitectureError:
    """No network shares a single key."""
    first = next(iter(state))
    return (
        other_input(state)
        or head_alone(state)
        or Mismatch(
            "no known architecture shares a single key with the state_dict",
            closest=f"{len(state)} keys, the first is {first[:NAME]}",
            remedy=FACTORY,
        )
    )


def not_normalised(name: str) -> ArchitectureError:
    """``--arch NAME+...`` for a network that has no BatchNorm to replace, or whose statistics are in the file."""
    return ArchitectureError(
        f"nothing in {name} is open about its normalisation",
        closest="the file holds the running statistics, or the network is published without BatchNorm",
        remedy="leave out what follows the plus in --arch",
    )


def no_such_name(name: str, known: Iterable[str]) -> ArchitectureError:
    """``--arch`` names nothing; similar names are offered."""
    near = difflib.get_close_matches(name, list(known), n=3)
    return ArchitectureError(
        f"no architecture is called {name[:NAME]}",
        closest=", ".join(near) or "no similar name",
        remedy="give a torchvision or timm name, or your own constructor: --arch-factory package.module:function",
    )


def not_that_name(name: str, error: ArchitectureError, instead: str | None) -> ArchitectureError:
    """``--arch`` names a network that the keys are not; ``instead`` is the one that they are, if any."""
    without = f"leave --arch out: the keys are those of {instead}" if instead else FACTORY
    return ArchitectureError(f"the keys are not those of {name[:NAME]}", closest=error.closest, remedy=without)
