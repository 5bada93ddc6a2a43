"""``fold-bn``: BatchNorm computed into the convolution before it, as exporters do for speed.

    W' = W gamma / sqrt(var + eps),    b' = beta + (b - mean) gamma / sqrt(var + eps)

Markus, Fusing batch normalization and convolution in runtime, 2018; Jacob et al., CVPR 2018, section 3.2. Four numbers
a channel become two, so the statistics can no longer be read off; they are not gone.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import layers_with_statistics, owned

NAME = "fold-bn"


def fold_batchnorm(found: Copy, given: Given) -> Copy:
    """The copy without BatchNorm layers. Raises MitigationError where one does not follow a convolution directly."""
    target = owned(found)
    module, side = target.module, target.match.side
    layers = layers_with_statistics(module, NAME)
    weight = next(module.parameters())
    before = feeding(module, torch.zeros(2, target.match.channels, side, side, device=weight.device))
    alone = [path for path, _ in layers if path not in before]
    if alone:
        raise MitigationError(
            f"{len(alone)} of {len(layers)} BatchNorm layers do not follow a convolution of their own",
            closest=f"{alone[0]}",
            remedy="this network cannot be folded; recompute-bn replaces what fold-bn would only hide",
        )
    for path, layer in layers:
        fold(module.get_submodule(before[path]), layer)
        parent, _, leaf = path.rpartition(".")
        rest = (getattr(layer, part, nn.Identity()) for part in ("drop", "act"))
        setattr(module.get_submodule(parent), leaf, nn.Sequential(*rest))
    said = f"{len(layers)} BatchNorm layers were computed into the convolutions before them"
    return replace(found, target=target, done=(*found.done, said))


def feeding(module: nn.Module, probe: Tensor) -> dict[str, str]:
    """{BatchNorm layer: the convolution whose output it is given, and nobody else's}, seen on one pass of ``probe``."""
    made: dict[int, tuple[str, Tensor]] = {}
    found: dict[str, str] = {}
    calls: dict[str, int] = {}
    handles = []
    for path, layer in module.named_modules():
        if type(layer) is nn.Conv2d:

            def note(_: nn.Module, __: object, output: Tensor, path: str = path) -> None:
                made[id(output)] = (path, output)
                calls[path] = calls.get(path, 0) + 1

            handles.append(layer.register_forward_hook(note))
        elif isinstance(layer, _BatchNorm):

            def look(_: nn.Module, args: tuple[Tensor, ...], path: str = path) -> None:
                if id(args[0]) in made:
                    found[path] = made[id(args[0])][0]

            handles.append(layer.register_forward_pre_hook(look))
    try:
        with torch.no_grad():
            module(probe)
    finally:
        for handle in handles:
            handle.remove()
    users = list(found.values())
    return {path: conv for path, conv in found.items() if calls[conv] == 1 and users.count(conv) == 1}


def fold(conv: nn.Module, layer: _BatchNorm) -> None:
    """Give the convolution the layer's work, in place."""
    if layer.running_mean is None or layer.running_var is None or not isinstance(conv, nn.Conv2d):
        raise TypeError("a convolution and a layer with statistics are needed")
    scale = (layer.running_var + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = 0.0 if layer.bias is None else layer.bias
    bias = torch.zeros_like(layer.running_mean) if conv.bias is None else conv.bias
    with torch.no_grad():
        conv.bias = nn.Parameter((shift + (bias - layer.running_mean) * scale).detach(), requires_grad=False)
        conv.weight.mul_(scale.view(-1, 1, 1, 1))


MITIGATION = Mitigation(
    idea="Compute BatchNorm into the convolutions before it, so that its statistics cannot be read off the file.",
    source="Jacob et al., CVPR 2018, section 3.2; Markus 2018",
    remains=(
        "It hides the statistics and does not remove them: they are still part of every bias, and an attack that "
        "allows for that has not been shown to fail.",
        "What the trained weights remember stays, and every answer of the network is the same as before.",
    ),
    effect="hides",
    apply=fold_batchnorm,
)
