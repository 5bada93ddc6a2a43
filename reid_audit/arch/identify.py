"""Tensors -> Target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from reid_audit.arch import assemble, families
from reid_audit.arch.build_index import normalisation
from reid_audit.arch.canonical import Canonical, canonical
from reid_audit.arch.catalogue import on_meta, unfilled
from reid_audit.arch.factory import from_factory
from reid_audit.arch.families import Config, Family, Recipe
from reid_audit.arch.matching import Fit, best
from reid_audit.arch.target import Target
from reid_audit.errors import ArchitectureError
from reid_audit.records import ArchMatch, Candidate


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known beside the tensors."""

    name: str | None = None
    """``--arch``: fixes the architecture."""
    side: int | None = None
    """The policy's input size in pixels; position embeddings overrule it, because nothing else would run."""
    config: Config = field(default_factory=dict)
    """The config.json beside the file, or empty."""


def match(
    tensors: Mapping[str, Tensor], *, name: str | None = None, side: int | None = None, config: Config | None = None
) -> ArchMatch:
    """Which network ``tensors`` belong to, from keys and shapes: nothing with storage is built.

    Raises ArchitectureError with the closest architecture where none explains them.
    """
    given, known = _canonical(tensors), Known(name, side, config or {})
    family = _family(given, name)
    if family is not None:
        recipe = families.read(family, given.state, known.config, known.side)
        return _of_family(family, recipe, on_meta(recipe.build), given, known)
    fit, candidates = best(given, name=name)
    return _record(fit, assemble.plan(fit), candidates, by_name=name is not None, side=side)


def identify(
    tensors: Mapping[str, Tensor],
    *,
    name: str | None = None,
    factory: str | None = None,
    side: int | None = None,
    config: Config | None = None,
) -> Target:
    """A network in evaluation mode with ``tensors`` as its weights, and the evidence.

    ``name`` (``--arch``) fixes the architecture, ``factory`` (``--arch-factory``) imports the user's constructor,
    ``side`` is the policy's input size in pixels (position embeddings overrule it), ``config`` the config.json beside
    the file. Raises ArchitectureError.
    """
    if factory is not None:
        return _own(tensors, factory, side)
    given, known = _canonical(tensors), Known(name, side, config or {})
    family = _family(given, name)
    if family is not None:
        recipe = families.read(family, given.state, known.config, known.side)
        built = unfilled(recipe.build)
        record = _of_family(family, recipe, built, given, known)
        return Target(module=families.load(recipe, built), match=record)
    fit, candidates = best(given, name=name)
    wanted = assemble.plan(fit)
    module, used = assemble.build(fit, wanted, side)
    record = _record(fit, wanted, candidates, by_name=name is not None, side=side)
    return Target(module=module, match=record.model_copy(update={"side": used}))


def _canonical(tensors: Mapping[str, Tensor]) -> Canonical:
    given = canonical(tensors)
    if not given.state:
        raise ArchitectureError(
            "the state_dict holds no floating-point weights", closest="nothing to compare", remedy="check the file"
        )
    return given


def _family(given: Canonical, name: str | None) -> Family | None:
    return families.recognise(given.state) if name is None else families.by_name(name, given.state)


def _of_family(family: Family, recipe: Recipe, module: nn.Module, given: Canonical, known: Known) -> ArchMatch:
    named = known.name is not None
    record = families.describe(family, recipe, module, len(given.state), by_name=named, side=known.side)
    return record.model_copy(update={"evidence": (*given.notes, *record.evidence)})


def _record(
    fit: Fit, plan: assemble.Plan, candidates: tuple[Candidate, ...], *, by_name: bool, side: int | None
) -> ArchMatch:
    asked = side is not None and not plan.from_weights
    xrv = any("torchxrayvision" in line for line in plan.evidence)
    return ArchMatch(
        name=fit.entry.name,
        library="torchxrayvision" if xrv else fit.entry.library,
        family=fit.entry.family,
        coverage=fit.coverage,
        by="option" if by_name else "keys",
        candidates=candidates,
        missing_keys=len(fit.missing),
        unexpected_keys=len(fit.extra) + len(fit.outside),
        normalisation=fit.entry.normalisation,
        data_statistics=_data_statistics(fit.state),
        head=plan.head,
        classes=plan.classes,
        channels=plan.channels,
        side=side if asked and side is not None else plan.side,
        side_by="weights" if plan.from_weights else "policy" if asked else "default",
        evidence=plan.evidence,
    )


def _data_statistics(state: Mapping[str, Tensor]) -> int:
    return 2 * sum(value.numel() for key, value in state.items() if key.endswith("running_mean"))


def _own(tensors: Mapping[str, Tensor], factory: str, side: int | None) -> Target:
    module = from_factory(factory, tensors)
    weights = list(module.state_dict().items())
    kernels = [v for k, v in weights if v.dim() == 4]
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    classes = linears[-1].out_features if linears else 0
    record = ArchMatch(
        name=factory,
        library="factory",
        family=type(module).__name__,
        coverage=1.0,
        by="factory",
        normalisation=tuple(sorted(normalisation(module).items())),
        data_statistics=_data_statistics(dict(weights)),
        head="features" if classes == 0 else "sigmoid" if classes == 1 else "softmax",
        classes=classes,
        channels=int(kernels[0].shape[1]) if kernels else 1,
        side=side or 224,
        side_by="policy" if side else "default",
        evidence=("the constructor is the user's own (--arch-factory)",),
    )
    return Target(module=module, match=record)
