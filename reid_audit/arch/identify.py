"""Tensors -> Target."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from torch import Tensor

from reid_audit.arch import assemble, families, layouts, near, norms
from reid_audit.arch.build_index import normalisation
from reid_audit.arch.canonical import Canonical, canonical
from reid_audit.arch.catalogue import on_meta, unfilled
from reid_audit.arch.factory import from_factory
from reid_audit.arch.families import Config, Family, Recipe
from reid_audit.arch.fit import Fit
from reid_audit.arch.matching import best
from reid_audit.arch.norms import Choice
from reid_audit.arch.outputs import SIDES, output_of
from reid_audit.arch.spellings import respelled
from reid_audit.arch.statistics import statistics_in
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
    wish: Choice = field(default_factory=Choice)
    """``--arch NAME+groupnorm``: what is in the place of BatchNorm."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The answer before anything with storage is built: a family's recipe or a fit of the index, and its record."""

    match: ArchMatch
    recipe: Recipe | None = None
    fit: Fit | None = None
    plan: assemble.Plan | None = None


def match(
    tensors: Mapping[str, Tensor], *, name: str | None = None, side: int | None = None, config: Config | None = None
) -> ArchMatch:
    """Which network ``tensors`` belong to, from keys and shapes: nothing with storage is built.

    Raises ArchitectureError with the closest architecture where none explains them.
    """
    return _found(tensors, name, side, config).match


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
    found = _found(tensors, name, side, config)
    if found.recipe is not None:
        built = families.Built(unfilled(found.recipe.build), norms.choice(name)[1])
        return Target(module=families.load(found.recipe, built), match=found.match)
    if found.fit is None or found.plan is None:
        raise TypeError("neither a family's recipe nor a fit")
    module, used = assemble.build(found.fit, found.plan, side)
    return Target(module=module, match=found.match.model_copy(update={"side": used}))


def _found(tensors: Mapping[str, Tensor], name: str | None, side: int | None, config: Config | None) -> _Found:
    """The first reading of the file under which it is a network. Raises the refusal of the file as it stands."""
    bare, wish = norms.choice(name)
    given, known = respelled(layouts.renamed(_canonical(tensors))), Known(bare, side, config or {}, wish)
    try:
        found = _read(given, known)
    except near.Mismatch as error:
        other = _otherwise(given, known)
        if other is None:
            raise error if bare is None else _misnamed(bare, given, known, error) from None
        found = other
    return replace(found, match=_as_filed(found.match, given, tensors))


def _as_filed(match: ArchMatch, given: Canonical, tensors: Mapping[str, Tensor]) -> ArchMatch:
    """``match`` with the names of what is left out as the file spells them, where they were rewritten."""
    names = {id(value): key for key, value in tensors.items()}
    return match.model_copy(update={"unused": tuple(names.get(id(given.state.get(k)), k) for k in match.unused)})


def _otherwise(given: Canonical, known: Known) -> _Found | None:
    """The file with its axes in another order; a doubt is added where more than one order fits."""
    found: list[_Found] = []
    for other in layouts.others(given):
        with suppress(ArchitectureError):
            found.append(_read(other, known))
    if len(found) < 2:
        return found[0] if found else None
    doubts = (*found[0].match.doubts, layouts.DOUBT)
    return replace(found[0], match=found[0].match.model_copy(update={"doubts": doubts}))


def _misnamed(name: str, given: Canonical, known: Known, error: ArchitectureError) -> ArchitectureError:
    """``--arch`` failed: what the keys say without it."""
    instead = None
    with suppress(ArchitectureError):
        found = _read(given, replace(known, name=None)).match
        instead = f"{found.library}/{found.name}"
    return near.not_that_name(name, error, instead)


def _read(given: Canonical, known: Known) -> _Found:
    family = _family(given, known.name)
    if family is not None:
        recipe = families.read(family, given.state, known.config, known.side, given.integers)
        return _Found(_of_family(family, recipe, given, known), recipe)
    fit, candidates = best(given, name=known.name, wish=known.wish)
    plan = assemble.plan(fit, known.wish)
    return _Found(_record(fit, plan, candidates, known), fit=fit, plan=plan)


def _canonical(tensors: Mapping[str, Tensor]) -> Canonical:
    given = canonical(tensors)
    if not given.state:
        raise ArchitectureError(
            "the state_dict holds no floating-point weights", closest="nothing to compare", remedy="check the file"
        )
    return given


def _family(given: Canonical, name: str | None) -> Family | None:
    return families.recognise(given.state) if name is None else families.by_name(name, given.state)


def _of_family(family: Family, recipe: Recipe, given: Canonical, known: Known) -> ArchMatch:
    built = families.Built(on_meta(recipe.build), known.wish)
    named = known.name is not None
    record = families.describe(family, recipe, built, len(given.state), by_name=named, side=known.side)
    return record.model_copy(update={"evidence": (*given.notes, *record.evidence)})


def _record(fit: Fit, plan: assemble.Plan, candidates: tuple[Candidate, ...], known: Known) -> ArchMatch:
    side = None if plan.from_weights else known.side
    xrv = any("torchxrayvision" in line for line in plan.evidence)
    stored = statistics_in(fit.state)
    return ArchMatch(
        name=fit.entry.name,
        library="torchxrayvision" if xrv else fit.entry.library,
        family=fit.entry.family,
        coverage=fit.coverage,
        by="option" if known.name is not None else "keys",
        candidates=candidates,
        missing_keys=len(fit.missing),
        unexpected_keys=len(fit.extra) + len(fit.outside),
        normalisation=norms.counted(fit.entry.normalisation, fit.norms, plan.wish),
        data_statistics=stored.updated,
        untouched_statistics=stored.untouched,
        statistics="stored" if stored.updated else norms.statistics(fit.norms, plan.wish),
        unused=plan.unused,
        doubts=plan.doubts,
        head=plan.head,
        classes=plan.classes,
        channels=plan.channels,
        side=side or plan.side,
        side_by="weights" if plan.from_weights else "policy" if side else "default",
        evidence=plan.evidence,
    )


def _own(tensors: Mapping[str, Tensor], factory: str, side: int | None) -> Target:
    module, unused = from_factory(factory, tensors)
    weights = list(module.state_dict().items())
    stored = statistics_in(dict(weights))
    kernels = [v for k, v in weights if v.dim() == 4]
    channels = int(kernels[0].shape[1]) if kernels else 1
    ends = output_of(module, channels, side)
    record = ArchMatch(
        name=factory,
        library="factory",
        family=type(module).__name__,
        coverage=1.0,
        by="factory",
        normalisation=tuple(sorted(normalisation(module).items())),
        data_statistics=stored.updated,
        untouched_statistics=stored.untouched,
        statistics="stored" if stored.updated else "none",
        unused=unused,
        head=ends.head,
        classes=ends.classes,
        channels=channels,
        side=ends.side,
        side_by="policy" if side else "default" if ends.side == SIDES[0] else "weights",
        evidence=("the constructor is the user's own (--arch-factory)", *ends.evidence),
    )
    return Target(module=module, match=record)
