"""Several mitigations, one after the other, on a copy of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from reid_audit.arch.target import Target
from reid_audit.mitigate.interface import Copy, Given, Public
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.observer import stage
from reid_audit.records import AppliedMitigation

NOISE = 8
"""Films of noise that mitigations are tried with."""


def rehearse(target: Target, names: Sequence[str], given: Given) -> None:
    """Raise what ``mitigated`` would, as far as that can be known in seconds: before an audit that takes minutes.

    Those that train are only asked whether there are films for them; the others are tried on films of noise.
    """
    for name in names:
        if MITIGATIONS[name].load().public:
            given.films(name)
    side, channels = target.match.side, 1 if target.match.channels == 3 else target.match.channels
    noise = Public(torch.rand(NOISE, channels, side, side, generator=given.generator()), np.full(NOISE, ""), "noise")
    quick = [name for name in names if not MITIGATIONS[name].load().trains]
    mitigated(target, quick, replace(given, public=noise))


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
