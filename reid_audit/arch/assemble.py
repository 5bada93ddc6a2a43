"""From a fit to a module that runs: built by its library, adapted where shapes say so, loaded strictly."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

from torch import Tensor, nn

from reid_audit.arch import by_shape, catalogue, leftovers, norms
from reid_audit.arch.catalogue import Build, convolution_like, set_module
from reid_audit.arch.fit import Fit, special_tokens
from reid_audit.arch.heads import MOMENTUM, PROJECTION, Head, read_head, rebuild_head, unsure
from reid_audit.arch.index import POSITION, shipped
from reid_audit.arch.near import FACTORY, by
from reid_audit.arch.norms import Choice
from reid_audit.errors import ArchitectureError

HeadKind = Literal["softmax", "sigmoid", "regression", "segmentation", "features"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the weights say about how to build the network."""

    channels: int
    classes: int
    head: HeadKind
    own: Head
    """A head that is not the library's, if there is one."""
    side: int
    from_weights: bool
    """Whether the side follows from position embeddings."""
    resized: bool
    """Whether the network must be built for that side because the embeddings differ from the default."""
    evidence: tuple[str, ...]
    wish: Choice
    """What is declared about the normalisation layers."""
    unused: tuple[str, ...]
    """Keys of the file that the network does not run."""
    doubts: tuple[str, ...]
    """Why the network may not be the one that was trained."""


class SegmentationOutput(nn.Module):
    """A torchvision segmentation network that returns its main map [N, classes, H, W] instead of a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] -> logits [N, classes, H, W]."""
        output: Tensor = self.network(images)["out"]
        return output


def plan(fit: Fit, wish: Choice) -> Plan:
    """Read classes, channels, head and side off the shapes, and what is left over."""
    notes, doubts = norms.reading(fit.norms, wish)
    evidence = [*fit.notes, *notes]
    channels = _channels(fit, evidence)
    side, from_weights, resized = _side(fit, evidence)
    own = read_head(fit, evidence)
    classes = own.classes
    head: HeadKind = "features" if classes == 0 else "sigmoid" if classes == 1 else "softmax"
    if fit.entry.segmentation and classes:
        head = "segmentation"
    if any(key.rpartition(".")[2] == "op_threshs" for key in (*fit.extra, *fit.outside)):
        head = "sigmoid"
        evidence.append("torchxrayvision: op_threshs beside the network; labels are independent (sigmoid)")
    unused, more = _left_out(fit, own, evidence)
    doubts = (*fit.doubts, *doubts, *unsure(own), *more)
    return Plan(channels, classes, head, own, side, from_weights, resized, tuple(evidence), wish, unused, doubts)


def _left_out(fit: Fit, own: Head, evidence: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the file's keys that are not run, the doubt they raise): copies and known training-only parts raise none."""
    left = [fit.filed.get(key, key) for key in fit.extra if key not in own.taken]
    unused = (*left, *(key for key in fit.outside if key not in own.taken))
    if unused:
        evidence.append(f"{len(unused)} keys beside the network were left out")
    copies = leftovers.copies(fit.outside, fit.state)
    if copies:
        evidence.append("a second network with the same keys is in the file")
    projected = {fit.filed.get(key, key) for key in own.projection}
    rest = [key for key in unused if key not in copies and key not in projected]
    if own.contrastive or leftovers.has_text(unused):
        rest = [key for key in rest if not (MOMENTUM.search(key) or PROJECTION.search(key))]
    return unused, leftovers.doubt(leftovers.doubtful(rest))


def _channels(fit: Fit, evidence: list[str]) -> int:
    found = 3
    for key in fit.entry.stem:
        shape, published = tuple(fit.state[key].shape), fit.described[key][0]
        if shape == published or len(shape) < 2:
            continue
        if shape[1] != published[1]:
            found = max(1, shape[1] * 3 // published[1])
        if shape[2:] != published[2:]:
            evidence.append(f"{key} is {by(shape)} instead of {by(published)}: stride and pooling are assumed")
    return found


def _side(fit: Fit, evidence: list[str]) -> tuple[int, bool, bool]:
    positions = [(k, s) for k, (s, role) in fit.described.items() if role == POSITION]
    default = fit.entry.side
    if not positions:
        return default, False, False
    key, published = positions[0]
    shape = tuple(fit.state[key].shape)
    changed = [(a, b) for a, b in zip(shape, published, strict=True) if a != b]
    if not changed:
        return default, True, False
    side = default * changed[0][0] // changed[0][1] if len(shape) == 4 else _side_of_tokens(fit, changed[0][0])
    evidence.append(f"{key} is {by(shape)} instead of {by(published)}: input side {side}")
    return side, True, True


def _side_of_tokens(fit: Fit, tokens: int) -> int:
    """Square grid of patches after the class and register tokens, whose number the default size gives away."""
    patch = next((s[-1] for s in (fit.described[k][0] for k in fit.entry.stem) if len(s) == 4), 16)
    return isqrt(max(0, tokens - special_tokens(fit.entry, fit.described))) * patch


def build(fit: Fit, wanted: Plan, side: int | None) -> tuple[nn.Module, int]:
    """The loaded module in evaluation mode, and the side it takes. Raises ArchitectureError where loading fails."""
    module, used = _construct(fit, wanted, side)
    norms.adapt(module, fit.norms, wanted.wish)
    _adapt_stem(fit, module)
    for path in {key.rpartition(".")[0] for key in fit.entry.head if wanted.classes == 0 or wanted.own.region}:
        set_module(module, path, nn.Identity())
    if wanted.own.region is not None:
        set_module(module, wanted.own.region, rebuild_head(wanted.own.keys))
    _load(fit, module, wanted.own.region)
    module.eval().requires_grad_(False)
    return (SegmentationOutput(module).eval() if fit.entry.segmentation else module), used


def _construct(fit: Fit, wanted: Plan, side: int | None) -> tuple[nn.Module, int]:
    classes = wanted.classes if wanted.own.region is None and wanted.classes else None
    plain = Build(fit.entry.library, fit.entry.name, classes=classes, channels=wanted.channels)
    sized = wanted.side if wanted.resized else None if wanted.from_weights or side in (None, fit.entry.side) else side
    try:
        if sized is not None:
            module = _sized(fit, plain, sized, required=wanted.resized)
            if module is not None:
                return module, sized
        module = catalogue.unfilled(lambda: fit.construct(plain))
        return module, wanted.side if wanted.from_weights or side is None else side
    except (RuntimeError, TypeError, ValueError, AssertionError, KeyError) as error:
        if fit.entry.name not in (by_shape.NAME, *catalogue.names(fit.entry.library)):
            raise _not_installed(fit) from None
        raise _failed(fit, f"{type(error).__name__}: {str(error)[:120]}") from None


def _sized(fit: Fit, plain: Build, side: int, *, required: bool) -> nn.Module | None:
    """The module built for another input size; None where its library has no such option and no weight needs it."""
    sized = Build(plain.library, plain.name, plain.classes, plain.channels, side)
    try:
        module = catalogue.unfilled(lambda: fit.construct(sized))
    except (TypeError, ValueError, AssertionError, RuntimeError):
        if required:
            raise
        return None
    own = module.state_dict()
    same = all(own[k].shape == fit.state[k].shape for k, (_, role) in fit.described.items() if role == 0 and k in own)
    return module if same or required else None


def _adapt_stem(fit: Fit, module: nn.Module) -> None:
    """Convolutions whose kernel differs from the library's; a 3x3 in place of a strided larger one has stride 1.

    The stride is not stored in a state_dict. The small-input recipe (stride 1, no max-pooling) is assumed.
    """
    for key in fit.entry.stem:
        path = key.removesuffix(".weight")
        weight = fit.state[key]
        try:
            old = module.get_submodule(path)
        except AttributeError:
            continue
        if not isinstance(old, nn.Conv2d) or tuple(old.weight.shape) == tuple(weight.shape):
            continue
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        shrunk = kernel[0] < old.kernel_size[0]
        new = convolution_like(
            old,
            channels=int(weight.shape[1]),
            kernel=kernel,
            stride=(1, 1) if shrunk else None,
            bias=f"{path}.bias" in fit.state,
        )
        set_module(module, path, new)
        if shrunk and isinstance(getattr(module, "maxpool", None), nn.MaxPool2d):
            module.maxpool = nn.Identity()


class _Versioned(dict[str, Tensor]):
    """Weights with the version of the module they are for, as ``state_dict`` gives them: MNASNet loads no others."""

    _metadata: dict[str, dict[str, Any]]


def _load(fit: Fit, module: nn.Module, loaded: str | None) -> None:
    """Load every weight; only integer buffers and the module at ``loaded``, which has its weights, may be missing."""
    own = {k: v for k, v in module.state_dict().items() if loaded is None or not k.startswith(loaded + ".")}
    state = _Versioned({k: v for k, v in fit.state.items() if k in own})
    state._metadata = {"": getattr(module.state_dict(), "_metadata", {}).get("", {})}
    try:
        missing = module.load_state_dict(state, strict=False).missing_keys
    except (RuntimeError, ValueError) as error:
        raise _failed(fit, str(error).replace("\n", " ")[:200]) from None
    lacking = [key for key in missing if key in own and own[key].is_floating_point()]
    if lacking:
        raise _failed(fit, f"{len(lacking)} weights are missing, first {lacking[0]}")


def _not_installed(fit: Fit) -> ArchitectureError:
    library, known = fit.entry.library, shipped().versions
    return ArchitectureError(
        f"the keys are those of {fit.entry.name}, which the installed {library} does not have",
        closest=f"{library} {catalogue.versions()[library]} is installed, {known.get(library, 'a newer one')} has it",
        remedy=f"pip install --upgrade {library}",
    )


def _failed(fit: Fit, why: str) -> ArchitectureError:
    return ArchitectureError(
        f"the keys are those of {fit.entry.name}, but it cannot be loaded",
        closest=why,
        remedy=FACTORY,
    )
