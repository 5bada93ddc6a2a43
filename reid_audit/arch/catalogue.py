"""The libraries whose networks can be recognised, behind one way to list and to build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

LIBRARIES = ("torchvision", "timm")
"""In order of preference where two libraries describe the same network."""


@dataclass(frozen=True, slots=True)
class Build:
    """What a network is built with. ``classes=None`` and ``side=None`` keep the library's default."""

    library: str
    name: str
    classes: int | None = None
    channels: int = 3
    side: int | None = None


def versions() -> dict[str, str]:
    """Installed release of each library (without local build tags)."""
    import timm
    import torchvision

    return {
        "torchvision": str(torchvision.__version__).split("+")[0],
        "timm": str(timm.__version__).split("+")[0],
    }


def names(library: str) -> list[str]:
    """Every entry of ``library``: classification and segmentation for torchvision, every entrypoint for timm."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    from torchvision import models

    return [*models.list_models(module=models), *models.list_models(module=models.segmentation)]


def construct(build: Build) -> nn.Module:
    """The module of ``build`` with random weights; the global random state is left as it was.

    Raises whatever the library raises where it does not know the name or the options.
    """
    with torch.random.fork_rng(devices=[]):
        return _timm(build) if build.library == "timm" else _torchvision(build)


def construct_meta(build: Build) -> nn.Module:
    """Like ``construct`` but without storage: shapes only. Falls back to the CPU where a network refuses that."""
    return on_meta(lambda: construct(build))


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """What ``build`` makes, without storage where the network allows it; the global random state is left as it was."""
    try:
        with torch.device("meta"):
            return unfilled(build)
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return unfilled(build)


INITIALISERS = frozenset(
    {*(getattr(nn.init, f"kaiming_{law}_") for law in ("normal", "uniform")), nn.init.normal_, nn.init.uniform_}
)
"""What fills a parameter with random numbers, where a mode may step in."""
DRAWS = frozenset(
    getattr(torch.Tensor, name) for name in ("normal_", "uniform_", "erfinv_", "bernoulli_", "exponential_")
)
"""What draws random numbers, of a parameter or of a tensor on the way to one."""


class _Unfilled(TorchFunctionMode):
    """Leaves out the drawing of initial weights, which costs more than all the rest of building a network.

    A parameter that is drawn directly becomes zero: a sampler that rejects what lies outside its bounds, as that of the
    truncated normal distribution does, would never end on whatever the memory held before. Other tensors are drawn in
    earnest, since such a sampler repeats until it likes what it drew.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func in INITIALISERS:
            return args[0] if args else options["tensor"]
        if func in DRAWS and isinstance(args[0], nn.Parameter):
            return args[0].zero_()
        return func(*args, **options)


def unfilled(build: Callable[[], nn.Module]) -> nn.Module:
    """What ``build`` makes, without random initial weights: for networks that are loaded strictly, or only measured.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]), _Unfilled():
        return build()


def _timm(build: Build) -> nn.Module:
    import timm

    options: dict[str, Any] = {}
    if build.classes is not None:
        options["num_classes"] = build.classes
    if build.channels != 3:
        options["in_chans"] = build.channels
    if build.side is not None:
        options["img_size"] = build.side
    module: nn.Module = timm.create_model(build.name, pretrained=False, **options)
    return module


def _torchvision(build: Build) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {"weights": None}
    if build.name in models.list_models(module=models.segmentation):
        options["weights_backbone"] = None
    elif build.name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    if build.classes is not None:
        options["num_classes"] = build.classes
    if build.side is not None:
        options["image_size"] = build.side
    module: nn.Module = models.get_model(build.name, **options)
    if build.channels != 3:
        replace_input(module, build.channels)
    return module


def replace_input(module: nn.Module, channels: int) -> None:
    """Give the first three-channel convolution ``channels`` inputs (torchvision has no option for it)."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d) and child.in_channels == 3:
            set_module(module, name, convolution_like(child, channels=channels))
            return


def convolution_like(
    old: nn.Conv2d,
    *,
    channels: int,
    kernel: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    bias: bool | None = None,
) -> nn.Conv2d:
    """A convolution of the same class and outputs as ``old`` with other inputs, kernel, stride or bias."""
    size = kernel or (int(old.kernel_size[0]), int(old.kernel_size[1]))
    same = kernel is None or size == tuple(old.kernel_size)
    padding: Any = old.padding if same else (size[0] // 2, size[1] // 2)
    make: Callable[..., nn.Conv2d] = type(old) if type(old) is not nn.Conv2d else nn.Conv2d
    return make(
        channels,
        old.out_channels,
        kernel_size=size,
        stride=stride or old.stride,
        padding=padding,
        dilation=old.dilation,
        bias=(old.bias is not None) if bias is None else bias,
    )


def set_module(root: nn.Module, path: str, new: nn.Module) -> None:
    """Put ``new`` in place of the submodule at the dotted ``path``."""
    parent, _, leaf = path.rpartition(".")
    setattr(root.get_submodule(parent), leaf, new)
