"""One verdict from those of several attack seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

from reid_audit.judge.case import Case
from reid_audit.judge.verdict import judge
from reid_audit.records import Gap, GateDecision, Measurement, Outcome, Policy, Verdict, Waiver


def judge_seeds(
    case: Case,
    measured: Sequence[tuple[Measurement, ...]],
    first_seed: int,
    policy: Policy,
    *,
    waivers: Sequence[Waiver] = (),
    today: date,
) -> Verdict:
    """The verdict on an audit whose attack ran from ``len(measured)`` seeds, the first of them ``first_seed``.

    All seeds have to agree, unless the policy says how many and the audit has the repeats the policy asks for.
    """
    verdicts = [judge(case.of_seed(each), policy, waivers=waivers, today=today) for each in measured]
    stated = policy.agreement if policy.repeats == len(measured) else None
    return agreed(verdicts, range(first_seed, first_seed + len(measured)), stated or len(measured))


def agreed(verdicts: Sequence[Verdict], seeds: Sequence[int], needed: int) -> Verdict:
    """One verdict from those of several attack seeds: the outcome that ``needed`` of them share, else INCONCLUSIVE.

    The first verdict with that outcome is returned, with a warning that says how each seed judged and what it breached.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    listed = ", ".join(_named(seed, verdict) for seed, verdict in zip(seeds, verdicts, strict=True))
    outcome, count = Counter(v.outcome for v in verdicts).most_common(1)[0]
    if count >= needed:
        first = next(v for v in verdicts if v.outcome is outcome)
        return first.model_copy(update={"warnings": (*first.warnings, f"repeats: {listed}")})
    gap = Gap(
        text=f"the attack seeds disagree ({listed}); {needed} of {len(verdicts)} must agree",
        remedy="repeat with more seeds and more steps; a seed that fails is evidence of a leak",
    )
    rows = tuple(_open(each, gap) for each in zip(*(v.gates for v in verdicts), strict=True))
    own = (Gap(metric=row.metric, text=row.text, remedy=row.remedy) for row in rows if row.lacking)
    gaps = (gap, *own, *(g for v in verdicts for g in v.gaps))
    return verdicts[0].model_copy(
        update={
            "outcome": Outcome.INCONCLUSIVE,
            "reason": f"No agreement: {gap.text}.",
            "gates": rows,
            "breaches": (),
            "gaps": tuple(dict.fromkeys(gaps)),
        }
    )


def _named(seed: int, verdict: Verdict) -> str:
    over = f" ({', '.join(breach.metric.value for breach in verdict.breaches)})" if verdict.breaches else ""
    return f"seed {seed} {verdict.outcome.value}{over}"


def _open(rows: tuple[GateDecision, ...], gap: Gap) -> GateDecision:
    """One gate as several seeds see it: open where any of them breached it, else the row that lacks most."""
    breached = next((row for row in rows if row.status == "breach"), None)
    if breached is None:
        return next((row for row in rows if row.lacking), rows[0])
    return breached.model_copy(
        update={
            "status": "open",
            "lacking": True,
            "uncorroborated": True,
            "text": f"{breached.text}, but not with every seed",
            "remedy": gap.remedy,
        }
    )
