"""A step that a GPU is told once and then repeats from memory (CUDA graphs).

One step of an attack is thousands of small kernels. A GPU finishes them faster than a processor can order them one by
one, so that at small images it waits most of the time. The order is the same at every step: it is recorded once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

Differentiable = Callable[[Tensor], Tensor]
ON_ANOTHER_STREAM = "The AccumulateGrad node's stream"
"""How torch's remark on its own recording begins: ``example`` is made on another stream than it is recorded on."""


def replayed(function: Differentiable, example: Tensor) -> Differentiable:
    """``function`` with its gradient, recorded for arguments of the shape of ``example``; itself on a CPU.

    What it returns is overwritten by the next call. A function is left as it is where it cannot be recorded: a network
    that looks at values to decide what to compute next, or a recording that does not fit into the memory.
    """
    if example.device.type != "cuda":
        return function
    example = example.detach().clone().requires_grad_(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=ON_ANOTHER_STREAM)
            recorded = torch.cuda.make_graphed_callables(function, (example,))
    except RuntimeError:
        return function
    return cast("Differentiable", recorded)
