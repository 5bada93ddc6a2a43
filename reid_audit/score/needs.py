"""How many patients of each cohort each gate and control of a policy needs before a clean model can PASS."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from reid_audit.records import CONTROLS, METRICS, RATE_HOLDOUT, RATES, Control, Gate, Metric, Policy
from reid_audit.score.calibration import FPR, holdout_needed, members_needed, rank_at, share_interval

KINDS = Control.EXCHANGEABILITY


@dataclass(frozen=True, slots=True)
class Need:
    """Fewest patients of each cohort with which a clean model can clear one gate or meet one control."""

    metric: Metric
    members: int
    others: int
    """Hold-out patients, those who become canaries among them."""
    note: str = ""


def needs(policy: Policy) -> tuple[Need, ...]:
    """What each gate with a ``clear`` limit, each metric a PASS always needs, and each control of ``policy`` needs.

    Whether the cohorts are of one kind has to be known under every policy: else nothing that compares them counts.
    """
    kept = policy.controls.canaries
    asked = [gate for gate in policy.gates if gate.clear is not None]
    always = [m for m, e in METRICS.items() if e.always_needed and m not in {gate.metric for gate in asked}]
    found = [
        *(_need(metric, kept, note="a PASS always needs it") for metric in always),
        *(_gate(gate, kept) for gate in asked),
        *(_control(control, policy) for control in CONTROLS if policy.controls.asks(control) or control is KINDS),
    ]
    return tuple(need for need in found if need is not None)


def _need(metric: Metric, kept: int, *, members: int = 0, note: str = "") -> Need:
    """The table's fewest patients; ``kept`` hold-out patients become canaries."""
    fewest = METRICS[metric].fewest
    return Need(metric, max(fewest[0], members), fewest[1] + kept, note)


def _gate(gate: Gate, kept: int) -> Need | None:
    clear = gate.clear or 0.0
    if gate.metric in RATES:
        members = members_needed(clear)
        chance = clean_chance(members, RATE_HOLDOUT, clear)
        note = f"to end at or below {clear:g}; with just these at most {chance:.0%} of clean models do"
        return _need(gate.metric, kept, members=members, note=note)
    if METRICS[gate.metric].fewest == (0, 0):
        return None
    note = ""
    if gate.metric is Metric.LINKAGE_P and clear > 0:
        note = f"one clean model in {1 / clear:.0f} stays open by chance"
    if gate.metric is Metric.SINGLE_HIT:
        note = "an indicator below 100 hold-out patients per training patient"
    return _need(gate.metric, kept, note=note)


def _control(control: Control, policy: Policy) -> Need | None:
    entry, kept = CONTROLS[control], policy.controls.canaries
    if entry.metric is None:
        return None
    if entry.planted:
        return Need(entry.metric, 0, 2 * kept, f"{kept} canaries among as many others")
    if control is Control.SCORER_SENSITIVITY:
        films = films_needed(policy.controls.scorer_sensitivity_low)
        return Need(entry.metric, 0, kept + films, "training patients count here too")
    return _need(entry.metric, kept)


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
