"""What all mitigations have in common: a network and public films in, a changed copy of the network out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import Pace
from reid_audit.errors import MitigationError
from reid_audit.records import MitigationEffect


@dataclass(frozen=True, slots=True, eq=False)
class Public:
    """Films of nobody whom the network was trained on."""

    images: Tensor
    """[M, C, side, side] in [0, 1], on the CPU."""
    labels: NDArray[np.str_]
    """[M] what a network should answer, "" where nobody says."""
    called: str
    """What they are, as sentences name them: ``public films`` or ``samples of the prior``."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a mitigation may use beside the network."""

    prepare: Callable[[Tensor], Tensor]
    """From a few images in [0, 1] to network input, on the network's device."""
    seed: int
    pace: Pace
    public: Public | None = None
    members: int | None = None
    """Training films, where they are known."""
    each: int = 1
    """Films of the patient who has most of them."""

    def films(self, name: str) -> Public:
        """The public films that the mitigation ``name`` needs. Raises MitigationError without any."""
        if self.public is None:
            raise MitigationError(
                f"{name} needs films of other people",
                closest="none were given",
                remedy="give --public FOLDER with public films, or --public prior for samples of the prior",
            )
        return self.public

    def generator(self) -> torch.Generator:
        """Random numbers of one mitigation, on the CPU."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """The copy on its way from one mitigation to the next."""

    target: Target
    """With a module of its own: the original is never changed."""
    dtype: torch.dtype | None = None
    """What floating-point values are stored as in the file; None: fp32."""
    done: tuple[str, ...] = ()
    """One sentence for every mitigation applied: what it did, with its numbers."""


@dataclass(frozen=True, slots=True)
class Mitigation:
    """One mitigation: what it does, where it is from, what is left, and what it does to the audit's own evidence."""

    idea: str
    """One sentence."""
    source: str
    """Citation."""
    remains: tuple[str, ...]
    """What it does not protect from, in plain sentences."""
    effect: MitigationEffect
    """What it does to what the audit reads."""
    apply: Callable[[Copy, Given], Copy] = field(repr=False)
    """Returns the copy, changed. Raises MitigationError where the network has no place for it, and OutOfTime."""
    public: bool = False
    """Whether it needs films of other people."""
    trains: bool = False
    """Whether weights are trained, so that the time it takes is worth a forecast."""
