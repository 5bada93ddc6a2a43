"""``--arch-factory package.module:function``: the user's own constructor, imported only because the flag asks."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid_audit.arch.canonical import canonical, prefixes, under
from reid_audit.errors import ArchitectureError

REMEDY = "--arch-factory package.module:function must name a function that returns the torch.nn.Module"


def from_factory(spec: str, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """Call the constructor and load ``tensors`` strictly (any shared prefix aside).

    Returns the module and the keys that do not have its prefix. Raises ArchitectureError.
    """
    function = _import(spec)
    state = canonical(tensors).state
    try:
        with torch.random.fork_rng(devices=[]):
            module = function(**_arguments(function, state))
    except Exception as error:  # the user's code may raise anything
        raise ArchitectureError(
            f"the factory {spec} failed", closest=f"{type(error).__name__}: {error}", remedy=REMEDY
        ) from error
    if not isinstance(module, nn.Module):
        raise ArchitectureError(
            f"the factory {spec} returned no module", closest=f"it returned a {type(module).__name__}", remedy=REMEDY
        )
    unused = _load(module, state, spec)
    return module.float().eval().requires_grad_(False), unused


def _import(spec: str) -> Callable[..., Any]:
    path, _, name = spec.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(path), name) if path and name else None
    except Exception as error:  # importing the user's module may raise anything
        raise ArchitectureError(
            f"the factory {spec} cannot be imported", closest=f"{type(error).__name__}: {error}", remedy=REMEDY
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise ArchitectureError(f"{spec} is not a function", closest="package.module:function", remedy=REMEDY)
    function: Callable[..., Any] = found
    return function


def _arguments(function: Callable[..., Any], state: Mapping[str, Tensor]) -> dict[str, int]:
    """The constructor's num_classes and in_channels, where it takes them, read off the last and first weights."""
    try:
        accepted = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    matrices = [value for value in state.values() if value.dim() == 2]
    kernels = [value for value in state.values() if value.dim() == 4]
    known = {}
    if matrices:
        known["num_classes"] = int(matrices[-1].shape[0])
    if kernels:
        known["in_channels"] = known["in_chans"] = int(kernels[0].shape[1])
    return {name: value for name, value in known.items() if name in accepted}


def _load(module: nn.Module, state: Mapping[str, Tensor], spec: str) -> tuple[str, ...]:
    own = module.state_dict()
    wanted = {key for key, value in own.items() if value.is_floating_point()}
    names = max(_spellings(state, wanted), key=lambda table: len(wanted & set(table)))
    spelled = {short: state[key] for short, key in names.items()}
    missing = sorted(wanted - set(spelled))
    unexpected = sorted(set(spelled) - wanted)
    wrong = sorted(k for k in wanted & set(spelled) if own[k].shape != spelled[k].shape)
    if missing or unexpected or wrong:
        first = (*missing[:1], *unexpected[:1], *wrong[:1])[0]
        raise ArchitectureError(
            f"the module of {spec} does not fit the state_dict",
            closest=f"{len(missing)} keys missing, {len(unexpected)} unexpected, {len(wrong)} misshapen; first {first}",
            remedy="build exactly the network that was trained",
        )
    module.load_state_dict(spelled, strict=False)
    used = set(names.values())
    return tuple(key for key in state if key not in used)


def _spellings(state: Mapping[str, Tensor], wanted: set[str]) -> list[dict[str, str]]:
    """Tables {name in the module: key of the file}: without a prefix of the file's, and with one that all names of the
    module have, which reading the file takes off (``model.`` of Ultralytics)."""
    leads = [lead for lead in prefixes(wanted) if lead and all(name.startswith(lead) for name in wanted)]
    with_lead = [{f"{lead}{key}": key for key in state} for lead in leads]
    return [*(under(state, prefix) for prefix in prefixes(state)), *with_lead]
