"""From a family's recipe to a module that runs, and the record of what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reid_audit.arch import near, norms
from reid_audit.arch.build_index import normalisation, signature
from reid_audit.arch.families.base import Family, Recipe
from reid_audit.arch.norms import Choice
from reid_audit.arch.statistics import statistics_in
from reid_audit.records import ArchMatch


class Selected(nn.Module):
    """A network that returns one tensor out of what it gives."""

    def __init__(self, network: nn.Module, select: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._select = select

    def forward(self, images: Tensor) -> Tensor:
        """images [N, C, H, W] -> the audited output."""
        return self._select(self.network(images))


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The module that a recipe built, and what is declared about its normalisation."""

    module: nn.Module
    wish: Choice


def describe(family: Family, recipe: Recipe, built: Built, total: int, *, by_name: bool, side: int | None) -> ArchMatch:
    """The record of the network that ``recipe`` built. Raises ArchitectureError where its keys or shapes differ."""
    held = _held(recipe, built)
    if norms.unheard(held, built.wish):
        raise near.not_normalised(family.label)
    module = norms.adapt(built.module, held, built.wish)
    check(family, recipe, module, total)
    stored = statistics_in(recipe.state)
    asked = side is not None and not recipe.from_weights
    notes, doubts = norms.reading(held, built.wish)
    return ArchMatch(
        name=recipe.name,
        library=family.library,
        family=family.name,
        coverage=recipe.used / max(1, total),
        by="option" if by_name else "keys",
        unexpected_keys=total - recipe.used,
        normalisation=tuple(sorted(normalisation(module).items())),
        data_statistics=stored.updated,
        untouched_statistics=stored.untouched,
        statistics="stored" if stored.updated else norms.statistics(held, built.wish),
        unused=recipe.unused,
        doubts=(*(() if by_name else recipe.open), *recipe.doubts, *doubts),
        head=recipe.head,
        classes=recipe.classes,
        channels=recipe.channels,
        side=recipe.side,
        side_by="weights" if recipe.from_weights else "policy" if asked else "default",
        evidence=(f"keys are named as {family.library} names them", *recipe.evidence, *notes),
    )


def _held(recipe: Recipe, built: Built) -> norms.Norms:
    given = {key: tuple(value.shape) for key, value in recipe.state.items()}
    return norms.read(signature(built.module), given)


def check(family: Family, recipe: Recipe, module: nn.Module, total: int) -> None:
    """Every weight of the module is in the file with its shape, and the reverse. Raises ArchitectureError."""
    wanted = signature(module)
    given = {key: tuple(value.shape) for key, value in recipe.state.items()}
    optional = re.compile(recipe.optional)
    missing = [k for k, s in wanted.items() if given.get(k) != s and not (k not in given and optional.match(k))]
    unexpected = [key for key in given if key not in wanted]
    if missing or unexpected:
        matched = sum(wanted.get(key) == shape for key, shape in given.items())
        counts = f"{recipe.name} ({family.library}): {matched} of {total} keys"
        against = f"{near.contradiction(wanted, given, missing)}; {near.counted('unexpected', unexpected)}"
        raise near.Mismatch(
            f"the keys look like those of {family.label}, but the network built from their shapes differs",
            closest=f"{counts}; {against}",
            remedy=near.FACTORY,
        )


def load(recipe: Recipe, built: Built) -> nn.Module:
    """The module that ``recipe`` built, with its weights, in evaluation mode, returning one tensor."""
    module = norms.adapt(built.module, _held(recipe, built), built.wish)
    module.load_state_dict(recipe.state, strict=False)
    module.float().eval().requires_grad_(False)
    return module if recipe.select is None else Selected(module, recipe.select).eval()
