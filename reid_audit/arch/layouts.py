"""Kernels whose axes are in another order: channels-last exports, and JAX's and Keras' names for their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from reid_audit.arch.canonical import Canonical

LEAVES = {
    "kernel": "weight", "scale": "weight", "gamma": "weight", "embedding": "weight", "beta": "bias",
    "mean": "running_mean", "var": "running_var", "moving_mean": "running_mean", "moving_variance": "running_var",
    "depthwise_kernel": "weight",
}  # fmt: skip
"""Last part of a key in Flax or Keras -> in torch."""
COLLECTIONS = ("params.", "batch_stats.")
"""Flax keeps parameters and running statistics apart; their paths are the same."""
SQUARE_SHARE, LARGEST = 0.5, 16
"""Nearly every kernel is square and small: where fewer are, the last two axes are not the kernel's."""

FLAX = "named and stored as Flax or Keras does: axes turned into torch's order"
DOUBT = "the axes of the weights fit in more than one order"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an export keeps its weights."""

    name: str
    kernels: tuple[int, int, int, int]
    """Where outputs, inputs, rows and columns of a kernel are."""
    turned: bool
    """Whether the matrices of linear layers have inputs first."""


LAYOUTS = (
    _Layout("kernels are stored as outputs, rows, columns, inputs (channels last)", (0, 3, 1, 2), False),
    _Layout("kernels are stored as rows, columns, inputs, outputs, and matrices with inputs first", (3, 2, 0, 1), True),
    _Layout("kernels are stored as rows, columns, inputs, outputs", (3, 2, 0, 1), False),
)


def renamed(given: Canonical) -> Canonical:
    """Flax's and Keras' names and axes turned into torch's, where every convolution says that it is one of theirs."""
    kernels = [key for key, value in given.state.items() if value.dim() == 4]
    if not kernels or not all(_leaf(key) in ("kernel", "depthwise_kernel") for key in kernels):
        return given
    done: dict[str, Tensor] = {}
    for key, value in given.state.items():
        path, _, leaf = key.replace("/", ".").rpartition(".")
        for collection in COLLECTIONS:
            path = path.removeprefix(collection)
        turned = _torch_axes(leaf, value) if leaf in ("kernel", "depthwise_kernel") else value
        done[f"{path}.{LEAVES.get(leaf, leaf)}" if path else leaf] = turned
    if len(done) != len(given.state):
        return given
    return replace(given, state=done, notes=(*given.notes, FLAX))


def others(given: Canonical) -> Iterator[Canonical]:
    """The state_dict read with its axes in each other order; nothing where the kernels lie as torch stores them."""
    kernels = [v.shape for v in given.state.values() if v.dim() == 4 and sorted(v.shape)[-2] > 1]
    square = sum(shape[2] == shape[3] <= LARGEST for shape in kernels)
    if not kernels or square > SQUARE_SHARE * len(kernels):
        return
    for layout in LAYOUTS:
        yield replace(given, state=_turned(given.state, layout), notes=(*given.notes, layout.name))


def _turned(state: Mapping[str, Tensor], layout: _Layout) -> dict[str, Tensor]:
    return {
        key: value.permute(layout.kernels)
        if value.dim() == 4
        else value.T
        if layout.turned and value.dim() == 2 and key.endswith("weight")
        else value
        for key, value in state.items()
    }


def _leaf(key: str) -> str:
    return key.replace("/", ".").rpartition(".")[2]


def _torch_axes(leaf: str, kernel: Tensor) -> Tensor:
    """Rows, columns, inputs, outputs -> outputs, inputs, rows, columns; a matrix turned; anything else as it is."""
    if kernel.dim() == 4:
        return kernel.permute((2, 3, 0, 1) if leaf == "depthwise_kernel" else (3, 2, 0, 1))
    return kernel.T if kernel.dim() == 2 else kernel
