"""What helped against a breach where it was measured: chosen from the rows of docs/mitigations.md, not from a list.

The rows lie beside this file as data/mitigations.json, which ``benchmarks.mitigations table`` writes together with the
page, so that a report advises what was measured and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import FiniteFloat, PositiveInt, TypeAdapter

from reid_audit.records import Metric, MitigationEffect, Record, default_gates

Kind = Literal["membership", "reconstruction"]
"""What a breach is evidence of."""
_LINKAGE = next(gate for gate in default_gates() if gate.metric is Metric.LINKAGE_P)
LINKED, CLEAR = _LINKAGE.fail or 0.0, _LINKAGE.clear or 0.0
"""p of the linkage test at which the default policy fails, and above which it is clear."""
KNOWN = 0.6
"""Lower end of the membership AUC above which a network counts as one with a breach: less than the policy's 0.65, which
is meant for scores beside reference models, and the page has none."""
STATISTICS = "recompute-bn"
"""What does nothing on a network without statistics."""
AGAINST: dict[Kind, str] = {"membership": "being recognised", "reconstruction": "being reconstructed"}
MOST = 3
"""Measured advice for one breach."""


class MeasuredMitigation(Record):
    """One row of the page, with what the network was without the mitigation."""

    name: str
    """As ``--apply`` names it; of a way to train, what the page calls it."""
    network: str
    """What it was tried on, or compared with, in words."""
    patients: PositiveInt
    """Who were in that network's training."""
    in_training: bool
    idea: str
    """A sentence."""
    effect: MitigationEffect | None = None
    """None: of training."""
    membership: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    """AUC and its interval."""
    membership_before: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    linkage_p: FiniteFloat
    linkage_p_before: FiniteFloat
    accuracy: FiniteFloat | None = None
    """On hold-out films; None where the copy gives no answers."""
    accuracy_before: FiniteFloat


@cache
def measured() -> tuple[MeasuredMitigation, ...]:
    """Every row there is."""
    file = resources.files("reid_audit.report") / "data" / "mitigations.json"
    return TypeAdapter(tuple[MeasuredMitigation, ...]).validate_json(file.read_bytes())


def alike(patients: int) -> tuple[MeasuredMitigation, ...]:
    """Rows of the network whose number of training patients is nearest to ``patients``, as a ratio."""
    rows = measured()
    nearest = min((row.patients for row in rows), key=lambda known: abs(math.log(known / max(1, patients))), default=0)
    return tuple(row for row in rows if row.patients == nearest)


def helped(kind: Kind, patients: int, *, statistics: bool) -> tuple[MeasuredMitigation, ...]:
    """Rows that took a breach of this kind away, the least costly in accuracy first, on a network with about as many
    training patients.

    What only hides or blunts what the audit reads is no help. statistics: whether the network stores any.
    """
    rows = [row for row in alike(patients) if _fits(row, statistics=statistics) and _helps(row, kind)]
    return tuple(sorted(rows, key=lambda row: (cost(row), row.membership[0])))


def in_vain(kind: Kind, patients: int) -> tuple[str, ...]:
    """Names of what was tried on such a network with a breach of this kind and left it."""
    rows = [row for row in alike(patients) if _breached(row, kind)]
    return tuple(dict.fromkeys(row.name for row in rows if _left(row, kind)))


def cost(row: MeasuredMitigation) -> float:
    """Accuracy lost; a copy without answers has lost all of it."""
    return row.accuracy_before - (row.accuracy or 0.0)


def _fits(row: MeasuredMitigation, *, statistics: bool) -> bool:
    return statistics or row.name != STATISTICS


def _breached(row: MeasuredMitigation, kind: Kind) -> bool:
    return row.linkage_p_before <= LINKED if kind == "reconstruction" else row.membership_before[1] > KNOWN


def _helps(row: MeasuredMitigation, kind: Kind) -> bool:
    """Whether reconstructions are no longer linked, or membership fell beyond both intervals; by removal."""
    if row.effect in ("hides", "blunts", "trims") or not _breached(row, kind):
        return False
    return row.linkage_p > CLEAR if kind == "reconstruction" else row.membership[2] < row.membership_before[1]


def _left(row: MeasuredMitigation, kind: Kind) -> bool:
    """Whether the breach is as it was: still linked, or membership within its former interval."""
    return row.linkage_p <= LINKED if kind == "reconstruction" else row.membership[0] >= row.membership_before[1]


def advice(kind: Kind, patients: int, *, statistics: bool) -> tuple[str, ...]:
    """Sentences on what helped, with the figures; empty where nothing did or nothing was measured."""
    return tuple(_sentence(row) for row in helped(kind, patients, statistics=statistics)[:MOST])


def vain(kinds: Iterable[Kind], patients: int) -> tuple[str, ...]:
    """A sentence for each set of mitigations that was tried on such a network and left breaches of these kinds."""
    against: dict[tuple[str, ...], list[str]] = {}
    for kind in kinds:
        against.setdefault(in_vain(kind, patients), []).append(AGAINST[kind])
    return tuple(
        f"Tried on such a network, and no help against {' or '.join(what)} (docs/mitigations.md): {', '.join(names)}."
        for names, what in against.items()
        if names
    )


def _sentence(row: MeasuredMitigation) -> str:
    command = "" if row.in_training else f" (reid-audit mitigate --apply {row.name})"
    figures = [
        f"membership AUC {row.membership_before[0]:.2f} to {row.membership[0]:.2f}",
        f"linkage p {row.linkage_p_before:.2g} to {row.linkage_p:.2g}",
    ]
    if row.accuracy is not None:
        figures.append(f"accuracy {row.accuracy_before:.2f} to {row.accuracy:.2f}")
    return f"{row.idea.rstrip('.')}{command}. Measured on {row.network}: {', '.join(figures)} (docs/mitigations.md)."
