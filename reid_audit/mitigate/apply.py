"""Several mitigations, one after the other, on a copy of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reid_audit.arch.target import Target
from reid_audit.mitigate.interface import Copy, Given
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.observer import stage
from reid_audit.records import AppliedMitigation


def mitigated(target: Target, names: Sequence[str], given: Given) -> tuple[Copy, tuple[AppliedMitigation, ...]]:
    """The copy after all of ``names`` in the order given, and what each of them did.

    Every mitigation draws from its own place in the sequence of seeds. Raises KeyError for a name that is not in the
    registry, MitigationError where one does not fit the network or its films, and OutOfTime.
    """
    found, applied = Copy(target), list[AppliedMitigation]()
    for number, name in enumerate(names):
        mitigation = MITIGATIONS[name].load()
        with stage(given.pace.observer, f"mitigation {name}"):
            found = mitigation.apply(found, replace(given, seed=given.seed + number))
        applied.append(
            AppliedMitigation(
                name=name,
                idea=mitigation.idea,
                source=mitigation.source,
                done=found.done[-1],
                remains=mitigation.remains,
                effect=mitigation.effect,
            )
        )
    return found, tuple(applied)
