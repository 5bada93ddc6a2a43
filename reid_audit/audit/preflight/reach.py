"""Which verdicts a policy can give with the patients at hand, said before anything is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reid_audit import figures
from reid_audit.judge.case import compares_films
from reid_audit.records import METRICS, RATE_HOLDOUT, RATES, Family, Gate, Metric, Outcome, Policy, family
from reid_audit.score.calibration import share_interval
from reid_audit.score.needs import Need, clean_chance, needs

WITHOUT_FILMS = family(Family.DISTRIBUTION)
"""Metrics that count, as far as they can be measured, whatever films are given."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What keeps a policy from some verdict with these cohorts."""

    text: str
    remedy: str
    metrics: tuple[Metric, ...] = ()
    by_luck: bool = False
    """True where a clean model may get past it, but often does not."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which verdicts are possible, and what stands in the way of a PASS."""

    possible: tuple[Outcome, ...]
    hindrances: tuple[Hindrance, ...]

    @property
    def verdict_possible(self) -> bool:
        """False where the audit can only end INCONCLUSIVE."""
        return Outcome.PASS in self.possible or Outcome.FAIL in self.possible


def reach(policy: Policy, members: int | None, others: int | None, *, waived: frozenset[Metric] = frozenset()) -> Reach:
    """What ``policy`` can say of ``members`` training and ``others`` hold-out patients (None: not given).

    waived: gates that somebody answers for, for this checkpoint and today. Hold-out patients include the canaries.
    """
    if members is None or others is None:
        return _without_a_cohort(policy, members, others)
    short = [need for need in needs(policy) if need.metric not in waived]
    hindrances = (*_few_members(policy, short, members, others), *_few_others(short, others))
    blocked = any(not found.by_luck for found in hindrances)
    known = _kinds_known(policy, members, others)
    fails = any(_can_fail(policy, gate, others) for gate in policy.gates if known or not compares_films(gate.metric))
    possible = (Outcome.FAIL,) * fails + (Outcome.INCONCLUSIVE,) + (Outcome.PASS,) * (not blocked)
    return Reach(possible, hindrances)


def hindered(within: Reach, *more: Hindrance) -> Reach:
    """``within`` with more that stands in the way of a PASS."""
    blocked = any(not found.by_luck for found in more)
    possible = tuple(outcome for outcome in within.possible if outcome is not Outcome.PASS or not blocked)
    return Reach(possible, (*within.hindrances, *more))


def _without_a_cohort(policy: Policy, members: int | None, others: int | None) -> Reach:
    """Indicators alone, unless the policy accepts a screening."""
    screening = policy.evidence == "checkpoint"
    fails = any(gate.fail is not None and gate.metric in WITHOUT_FILMS for gate in policy.gates)
    if screening:
        return Reach((Outcome.FAIL,) * fails + (Outcome.INCONCLUSIVE, Outcome.PASS), ())
    missing = [flag for flag, side in (("--reference", members), ("--holdout", others)) if side is None]
    names = " and ".join({"--reference": "training films", "--holdout": "hold-out films"}[flag] for flag in missing)
    found = Hindrance(
        text=f"no {names} were given, and the policy asks for calibrated evidence",
        remedy=f'add {" and ".join(missing)}, or write evidence = "checkpoint" into the policy for a screening',
    )
    return Reach((Outcome.FAIL,) * fails + (Outcome.INCONCLUSIVE,), (found,))


def _few_members(policy: Policy, short: Sequence[Need], members: int, others: int) -> list[Hindrance]:
    found, known = [], _kinds_known(policy, members, others)
    for need in short:
        gate = policy.gate(need.metric)
        if need.metric in RATES and gate is not None and gate.clear is not None and members < need.members:
            limit = _few_for_a_rate(gate, gate.clear, need.members, members, others - policy.controls.canaries)
            found.append(limit if known else replace(limit, remedy="give every patient the network was trained on"))
    asked = [need for need in short if need.metric not in RATES and members < need.members]
    if asked:
        needed = max(need.members for need in asked)
        ends = "INCONCLUSIVE or FAIL" if known else "INCONCLUSIVE"
        found.append(
            Hindrance(
                text=f"{members} training patients: {_names(asked)} cannot be measured with fewer than {needed}",
                remedy=f"give every patient the network was trained on; with fewer the audit ends {ends}",
                metrics=tuple(need.metric for need in asked),
            )
        )
    return found


def _few_for_a_rate(gate: Gate, clear: float, needed: int, members: int, others: int) -> Hindrance:
    """A rate whose interval cannot, or can hardly, end below ``clear`` with so few training patients."""
    chance = clean_chance(members, max(others, RATE_HOLDOUT), clear) if members else 0.0
    least = figures.limit(math.ceil(share_interval(0, members).high * 1000) / 1000) if members else "1"
    got = "no clean model gets" if chance == 0 else f"at most {chance:.0%} of clean models get"
    return Hindrance(
        text=f"{members} training patients: {got} {gate.metric.value} below its limit of {figures.limit(clear)}, "
        f"{needed} would do",
        remedy=f"if the network was trained on more patients than these, give them all; if not, no film changes it: "
        f"FAIL stays possible, and for a PASS somebody answers for {gate.metric.value} with a waiver of this "
        f"checkpoint, or the policy sets its clear limit to {least} or more",
        metrics=(gate.metric,),
        by_luck=chance > 0,
    )


def _few_others(short: Sequence[Need], others: int) -> list[Hindrance]:
    asked = [need for need in short if others < need.others]
    if not asked:
        return []
    needed = max(need.others for need in asked)
    return [
        Hindrance(
            text=f"{others} hold-out patients: {_names(asked)} {'need' if len(asked) > 1 else 'needs'} {needed}",
            remedy=f"give {needed - others} more patients from the same source whom the network never saw",
            metrics=tuple(need.metric for need in asked),
        )
    ]


def _kinds_known(policy: Policy, members: int, others: int) -> bool:
    """Whether there are patients enough to ask if both cohorts are of one kind: else nothing that compares them
    counts."""
    fewest = METRICS[Metric.EXCHANGEABILITY_P].fewest
    return members >= fewest[0] and others - policy.controls.canaries >= fewest[1]


def _can_fail(policy: Policy, gate: Gate, others: int) -> bool:
    """Whether the gate can be breached as far as the number of hold-out patients decides it."""
    if gate.fail is None:
        return False
    enough = others - policy.controls.canaries >= RATE_HOLDOUT
    if gate.metric in RATES:
        return enough
    partners = [c.metric for c in gate.corroborated_by]
    return not partners or any(metric not in RATES or enough for metric in partners)


def _names(asked: Sequence[Need]) -> str:
    names = [need.metric.value for need in asked]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
