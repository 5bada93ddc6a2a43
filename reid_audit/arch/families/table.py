"""All families, the most specific first, and how a state_dict is laid over one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from torch import Tensor

from reid_audit.arch.families import clip, monai, nnunet, smp, transformers, transformers_cnn
from reid_audit.arch.families.base import FACTORY, Config, Family, Given, Recipe
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


def read(family: Family, state: Mapping[str, Tensor], config: Config, side: int | None) -> Recipe:
    """What the shapes say. Raises ArchitectureError where they contradict the family or its library is missing."""
    prefix = family.prefix(state)
    if prefix is None:
        raise ArchitectureError(
            f"the keys are not those of {family.label}",
            closest=f"no key fits {family.anchors[0]}"[:200],
            remedy="leave --arch out, so that the keys decide",
        )
    if family.package is not None and find_spec(family.package) is None:
        raise needs(family, len(state))
    own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    parent = prefix[: prefix.rstrip(".").rfind(".") + 1]
    beside = {key.removeprefix(parent): value for key, value in state.items() if not key.startswith(prefix)}
    try:
        return family.read(Given(own, beside, config, side))
    except ImportError as error:
        raise needs(family, len(state), str(error)) from None
    except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError) as error:
        raise ArchitectureError(
            f"the keys look like those of {family.label}, but its shapes cannot be read",
            closest=f"{type(error).__name__}: {error}"[:200],
            remedy=FACTORY,
        ) from None


def needs(family: Family, keys: int, why: str = "") -> ArchitectureError:
    """The refusal where the library that builds the network is not installed."""
    return ArchitectureError(
        f"the state_dict is a {family.label}, which is built by the package {family.package}",
        closest=f"{keys} keys, named as {family.library} names them; {why or f'{family.package} is not installed'}",
        remedy=f"install reid-audit[{family.extra}]",
    )
