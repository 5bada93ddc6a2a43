"""How many patients a side each gate and control of a policy needs before a clean model can PASS."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from reid_audit.records import Metric, Policy
from reid_audit.score.calibration import FPR, holdout_needed, members_needed, rank_at, share_interval

FOR_RATES = 100
"""Hold-out patients from which a rate at 1 % false alarms is reported."""
FEWEST = 2
"""Patients a side before anything is tested."""
FOR_KINDS = 5
"""Patients a side for the two-sample test of their films."""


@dataclass(frozen=True, slots=True)
class Need:
    """Fewest patients of each side with which a clean model can clear one gate or meet one control."""

    metric: Metric
    members: int
    others: int
    """Hold-out patients, those who become canaries among them."""
    note: str = ""


def needs(policy: Policy) -> tuple[Need, ...]:
    """What each gate with a ``clear`` limit, and each control of ``policy``, needs."""
    kept = policy.controls.canaries
    found = []
    rate = policy.gate(Metric.MEMBERSHIP_TPR)
    if rate is None or rate.clear is None:
        found.append(Need(Metric.MEMBERSHIP_TPR, FEWEST, FOR_RATES + kept, "a PASS always needs it"))
    for gate in policy.gates:
        if gate.clear is None:
            continue
        if gate.metric in (Metric.LINKAGE_TPR, Metric.MEMBERSHIP_TPR):
            members = members_needed(gate.clear)
            chance = clean_chance(members, FOR_RATES, gate.clear)
            note = f"to end at or below {gate.clear:g}; with just these at most {chance:.0%} of clean models do"
            found.append(Need(gate.metric, members, FOR_RATES + kept, note))
        elif gate.metric is Metric.LINKAGE_P:
            note = f"one clean model in {1 / gate.clear:.0f} stays open by chance" if gate.clear > 0 else ""
            found.append(Need(gate.metric, FEWEST, FEWEST + kept, note))
        elif gate.metric is Metric.SINGLE_HIT:
            note = "an indicator below 100 hold-out patients per training patient"
            found.append(Need(gate.metric, FEWEST, FEWEST + kept, note))
    return (*found, *_controls(policy))


def _controls(policy: Policy) -> list[Need]:
    controls, kept = policy.controls, policy.controls.canaries
    found = []
    if controls.attack_power:
        found.append(Need(Metric.ATTACK_POWER, 0, 2 * kept, f"{kept} canaries among as many others"))
    if controls.membership_control:
        found.append(Need(Metric.MEMBERSHIP_CONTROL, 0, 2 * kept, f"{kept} canaries among as many others"))
    if controls.scorer_sensitivity:
        films = films_needed(controls.scorer_sensitivity_low)
        found.append(Need(Metric.SCORER_SENSITIVITY, 0, kept + films, "training patients count here too"))
    if controls.negative_control:
        found.append(Need(Metric.NEGATIVE_CONTROL_P, FEWEST, FEWEST + kept))
    if controls.exchangeability:
        found.append(Need(Metric.EXCHANGEABILITY_P, FOR_KINDS, FOR_KINDS + kept))
    return found


def films_needed(low: float) -> int:
    """Fewest degraded films with which a share found can have a lower end of ``low`` (all of them found)."""
    n = 1
    while share_interval(n, n).low < low and n < 100_000:
        n += 1
    return n


def smallest(policy: Policy) -> tuple[int, int]:
    """(training, hold-out) patients below which ``policy`` can PASS nobody."""
    every = needs(policy)
    return max(need.members for need in every), max(need.others for need in every)


def to_report_one(policy: Policy, members: int) -> int:
    """Hold-out patients, canaries among them, from which ``reidentified_patients`` can be other than 0."""
    return holdout_needed(members, policy.level) + policy.controls.canaries


def clean_chance(members: int, others: int, clear: float) -> float:
    """Share of clean models whose true positive rate at 1 % false alarms clears ``clear``, from above.

    Without a leak the training patients above the j-th of n hold-out patients are beta-binomial (j, n - j + 1). Exact
    for the Clopper-Pearson end; the reported interval is never narrower, so fewer may clear.
    others: hold-out patients without the canaries.
    """
    rank = rank_at(others, FPR) + 1
    hits = sum(share_interval(k, members).high <= clear for k in range(members + 1))
    return float(stats.betabinom.cdf(hits - 1, members, rank, others - rank + 1))
