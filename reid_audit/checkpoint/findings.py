"""What a pickle mentions beside its tensors, in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reid_audit.checkpoint.globals import modern, published

PLAIN = frozenset({"builtins", "collections", "typing"})
SHOWN, PACKAGES = 4, 8
"""Names of one package, packages."""


def placeholders_said(mentioned: Iterable[str]) -> tuple[str, ...]:
    """Listed data and configuration; Python's own containers and types go without saying."""
    named = {published(name) for name in mentioned}
    return tuple(
        sorted(f"replaced by an inert placeholder: {name}" for name in named if name.partition(".")[0] not in PLAIN)
    )


def code_said(code: Iterable[str]) -> tuple[str, ...]:
    """Classes and functions that loading the file in the usual way would import, package by package."""
    packages: dict[str, list[str]] = defaultdict(list)
    for name in map(modern, code):
        packages[name.partition(".")[0]].append(name[:80])
    said = [f"names code, neither imported nor called here: {_listed(packages[p], SHOWN)}" for p in sorted(packages)]
    more = len(said) - PACKAGES
    return (*said[:PACKAGES], *((f"names code of {more} more packages",) if more > 0 else ()))


def _listed(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
