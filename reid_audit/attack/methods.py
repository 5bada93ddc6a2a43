"""The registry of methods, one line each. A method is imported when it first runs: naming one needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    import torch

    from reid_audit.attack.interface import Attack, AttackTask, Reconstruction
    from reid_audit.budget import Meter
    from reid_audit.observer import Observer


@dataclass(frozen=True, slots=True)
class Method:
    """A reconstruction method by the name the command line knows it under; called like any ``Attack``."""

    name: str
    place: str
    """``module:function`` in this package."""
    generator: bool = False
    """Whether it searches the latents of a generator, so that the default prior is one."""

    def __call__(
        self, task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer
    ) -> Reconstruction:
        module, _, name = self.place.partition(":")
        attack: Attack = getattr(import_module(f"{__package__}.{module}"), name)
        return attack(task, generator=generator, meter=meter, observer=observer)


_ENTRIES = (
    Method("moments", "moments:moments"),
    Method("two-stage", "two_stage:two_stage", generator=True),
    Method("latent", "latent:latent", generator=True),
    Method("pixel", "pixel:pixel"),
    Method("gradient", "gradient:gradient"),
    Method("embeddings", "embeddings:embeddings"),
    Method("prior", "uninformed:uninformed"),
)
METHODS: dict[str, Attack] = {method.name: method for method in _ENTRIES}
WITH_GENERATOR = frozenset(method.name for method in _ENTRIES if method.generator)
DEFAULT = "moments"


def _known(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"no method is called {name}: {', '.join(METHODS)}")
    return name


MethodName = Annotated[str, AfterValidator(_known)]
"""A name of ``METHODS``."""
