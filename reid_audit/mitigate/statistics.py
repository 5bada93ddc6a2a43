"""BatchNorm statistics of other films, and a way to write them that says that they are not those of the training.

    absorbed:  gamma' = gamma sqrt(1 + eps) / sqrt(var + eps),  beta' = beta - gamma mean / sqrt(var + eps),
               mean' = 0,  var' = 1

A layer so written computes the same numbers, and its statistics are those that a layer is made with. Whoever audits
the copy, this project included, then has nothing to match against: an attack that reads replaced statistics finds the
films they came from and would call that safety.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_audit.arch.target import Target
from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Copy, Given, Public
from reid_audit.network.batchnorm import statistics_layers

BATCH = 64
"""Films whose statistics are averaged with those of the next as many."""


def owned(found: Copy) -> Target:
    """The copy's target with a module that may be changed in place."""
    return replace(found.target, module=copy.deepcopy(found.target.module))


def layers_with_statistics(module: nn.Module, name: str) -> list[tuple[str, _BatchNorm]]:
    """The BatchNorm layers that hold statistics. Raises MitigationError where there are none."""
    found = statistics_layers(module)
    if not found:
        raise MitigationError(
            f"{name} has nothing to change: no layer stores statistics of films",
            closest="the network has no BatchNorm, or its statistics were replaced before",
            remedy=f"leave --apply {name} out",
        )
    return found


def recompute(module: nn.Module, public: Public, given: Given, name: str) -> None:
    """Replace the running statistics of ``module``, in place, by the mean over batches of ``public``.

    Layer upon layer in training mode, as training itself averages them, with equal weight for every batch. Raises
    OutOfTime.
    """
    layers = layers_with_statistics(module, name)
    momenta = [layer.momentum for _, layer in layers]
    for _, layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    order = torch.randperm(len(public.images), generator=given.generator())
    batches = [rows for rows in torch.split(order, BATCH) if len(rows) > 1]
    with torch.no_grad():
        for rows in given.pace.over(f"{name}: statistics", batches, len(order), size=len):
            module(given.prepare(public.images[rows]))
    for (_, layer), momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    module.eval()


def absorb(module: nn.Module, name: str) -> int:
    """Write every layer's statistics into its scale and shift, in place; returns how many layers were written.

    Raises MitigationError where a layer has no scale and shift to take them.
    """
    layers = [(path, layer) for path, layer in module.named_modules() if _holds(layer)]
    for path, layer in layers:
        mean, variance = layer.running_mean, layer.running_var
        if not isinstance(layer.weight, nn.Parameter) or not isinstance(layer.bias, nn.Parameter):
            raise MitigationError(
                f"{name} cannot write the statistics of {path} into its scale and shift",
                closest="the layer has neither (affine=False)",
                remedy=f"leave --apply {name} out; distil does without the original's layers",
            )
        with torch.no_grad():
            scale = layer.weight / (variance + layer.eps).sqrt()
            layer.bias.sub_(scale * mean)
            layer.weight.copy_(scale * (1.0 + layer.eps) ** 0.5)
            layer.reset_running_stats()
    return len(layers)


def _holds(layer: nn.Module) -> bool:
    mean: Tensor | None = getattr(layer, "running_mean", None)
    return isinstance(layer, _BatchNorm) and mean is not None and layer.running_var is not None


def with_statistics_of(found: Copy, given: Given, name: str, done: str) -> Copy:
    """``found`` with the statistics of the public films, absorbed; ``done`` is what was done before."""
    public, target = given.films(name), found.target
    if not statistics_layers(target.module):
        return replace(found, done=(*found.done, done))
    recompute(target.module, public, given, name)
    count = absorb(target.module, name)
    said = f"{done}; the statistics of {count} BatchNorm layers are those of {len(public.images)} {public.called}"
    return replace(found, done=(*found.done, f"{said}, written into scale and shift"))
