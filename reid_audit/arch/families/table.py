"""All families, the most specific first, and how a state_dict is laid over one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec

from torch import Tensor

from reid_audit.arch import leftovers, near
from reid_audit.arch.families import clip, monai, nnunet, smp, transformers, transformers_cnn
from reid_audit.arch.families.base import Config, Family, Given, Recipe
from reid_audit.arch.near import FACTORY, NAME, Mismatch, by
from reid_audit.errors import ArchitectureError

FAMILIES: tuple[Family, ...] = (
    *nnunet.FAMILIES,
    *smp.FAMILIES,
    *monai.FAMILIES,
    *transformers.FAMILIES,
    *transformers_cnn.FAMILIES,
    *clip.FAMILIES,
)


def recognise(state: Mapping[str, Tensor]) -> Family | None:
    """The family whose key patterns the state_dict shows; needs none of the libraries."""
    return next((family for family in FAMILIES if family.prefix(state) is not None), None)


def by_name(name: str, state: Mapping[str, Tensor]) -> Family | None:
    """The family that ``--arch`` names, as ``library/name`` or ``name``; upper and lower case are the same.

    Where several libraries use the name, the one that the keys fit.
    """
    wanted = name.lower()
    found = [family for family in FAMILIES if wanted in (family.label.lower(), family.name.lower())]
    return next((f for f in found if f.prefix(state) is not None), found[0] if found else None)


def read(
    family: Family, state: Mapping[str, Tensor], config: Config, side: int | None, integers: Iterable[str] = ()
) -> Recipe:
    """What the shapes say. Raises ArchitectureError where they contradict the family or its library is missing."""
    prefix = family.prefix(state)
    if prefix is None:
        raise Mismatch(f"the keys are not those of {family.label}", closest=_lacking(family, state), remedy=FACTORY)
    if family.package is not None and find_spec(family.package) is None:
        raise needs(family, len(state))
    own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    parent = prefix[: prefix.rstrip(".").rfind(".") + 1]
    beside = {key: value for key, value in state.items() if not key.startswith(prefix)}
    leaves = frozenset(key.rpartition(".")[2] for key in integers)
    given = Given(own, {key.removeprefix(parent): value for key, value in beside.items()}, config, side, leaves)
    try:
        recipe = family.read(given)
    except ImportError as error:
        raise needs(family, len(state), str(error)) from None
    except KeyError as error:
        raise _unreadable(family, own, f"there is no key {str(error.args[0])[:NAME]}") from None
    except (IndexError, ValueError, TypeError, ZeroDivisionError):
        raise _unreadable(family, own, "its widths and depths do not follow from one another") from None
    return _with_leftovers(family, recipe, prefix, own, beside)


def _with_leftovers(
    family: Family, recipe: Recipe, prefix: str, own: dict[str, Tensor], beside: dict[str, Tensor]
) -> Recipe:
    """``recipe`` with what it leaves out. Raises ArchitectureError where that joins the network's input."""
    run = {id(value) for value in recipe.state.values()}
    known = re.compile(recipe.known)
    left = [key for key, value in beside.items() if id(value) not in run]
    copies = leftovers.copies(left, own)
    rest = leftovers.doubtful(key for key in left if key not in copies and not known.search(key))
    joining = list(leftovers.joining_beside(rest, own))
    if joining:
        raise Mismatch(
            f"the network takes tokens or embeddings that {family.label} does not know",
            closest=near.counted("unexpected", joining),
            remedy=FACTORY,
        )
    unused = (*(prefix + key for key in own if re.match(recipe.dropped, key)), *left)
    return replace(recipe, unused=unused, doubts=(*recipe.doubts, *leftovers.doubt(rest)))


def _unreadable(family: Family, own: dict[str, Tensor], why: str) -> ArchitectureError:
    first = next(iter(own))
    return Mismatch(
        f"the keys look like those of {family.label}, but the network cannot be read off them",
        closest=f"{len(own)} keys; {why}; the first is {first[:NAME]}, {by(own[first].shape)}",
        remedy=FACTORY,
    )


def _lacking(family: Family, state: Mapping[str, Tensor]) -> str:
    """The key that every network of ``family`` has and ``state`` has not."""
    absent = [a for a in family.anchors if not any(re.search(rf"(^|\.){a}$", key) for key in state)]
    plain = re.sub(r"\\(.)", r"\1", (absent or list(family.anchors))[0])
    return f"no key is called {plain}"[:200]


def needs(family: Family, keys: int, why: str = "") -> ArchitectureError:
    """The refusal where the library that builds the network is not installed."""
    return ArchitectureError(
        f"the state_dict is a {family.label}, which is built by the package {family.package}",
        closest=f"{keys} keys, named as {family.library} names them; {why or f'{family.package} is not installed'}",
        remedy=f"install reid-audit[{family.extra}]",
    )
