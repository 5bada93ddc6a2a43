"""From a case, a policy and waivers to a verdict, without tensors, clock or files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from reid_audit.judge import basis
from reid_audit.judge import controls as control_rows
from reid_audit.judge import gates as gate_rows
from reid_audit.judge.case import Case
from reid_audit.judge.remedies import REMEDIES
from reid_audit.records import (
    CONTROLS,
    METRICS,
    REASON_TEXT,
    Breach,
    ControlDecision,
    Demotion,
    Gap,
    Gate,
    GateDecision,
    Measured,
    Metric,
    Outcome,
    Policy,
    Reason,
    Verdict,
    Waiver,
)

CORE: tuple[Metric, ...] = tuple(metric for metric, entry in METRICS.items() if entry.always_needed)
"""A PASS needs both kinds of evidence, whatever gates the policy names: a silent attack proves nothing."""
NAME_IT = "name the network with --arch, or give its constructor with --arch-factory; docs/checkpoints.md says more"
SCREENED = (Metric.LIKELY_SAMPLES, Metric.CONSENSUS)
"""What a screening has: comparisons with the attack without the weights. One must have been made."""


def judge(case: Case, policy: Policy, *, waivers: Sequence[Waiver] = (), today: date) -> Verdict:
    """The verdict: FAIL where a gate is breached, PASS where everything the policy asks for is there and clear.

    It holds one row for each gate and each control; everything else follows from them. Indicators never breach. Linkage
    evidence becomes an indicator where training and hold-out films differ in kind, where the prior has seen the
    training films, or where the attack without target information is flagged too; membership becomes one where the
    films differ in kind. A waiver of this checkpoint takes its gate out of the breaches; an expired one does not.
    """
    screening = policy.evidence == "checkpoint" and not (case.has_reference and case.has_holdout)
    demotions = case.demotions(policy.controls)
    rules = _rules(case, demotions, waivers, today, screening=screening)
    gates = tuple(gate_rows.decide(gate, rules) for gate in policy.gates)
    implied = tuple(gate_rows.decide(Gate(metric=m), rules) for m in CORE if policy.gate(m) is None)
    settled = any(row.status == "breach" for row in gates)
    decided = tuple(
        control_rows.decide(control, case, policy.controls, screening=screening, settled=settled)
        for control in CONTROLS
    )
    controls = basis.with_stand_in(decided, case, policy)
    needed: tuple[GateDecision | ControlDecision, ...] = (*gates, *(() if screening else implied), *controls)
    agreed = _agreement_found(case, policy) if screening else ()
    gaps = (
        *_general(case, screening=screening),
        *agreed,
        *basis.lacking(case, policy, screening=screening),
        *_gaps(needed),
    )
    warnings = (*_warnings(waivers, gates, case), *basis.warnings(case))
    found = verdict_of(gates, controls, gaps, demotions, warnings, screening=screening)
    return basis.named(found, case, policy)


def verdict_of(
    gates: tuple[GateDecision, ...],
    controls: tuple[ControlDecision, ...],
    gaps: tuple[Gap, ...],
    demotions: tuple[Demotion, ...],
    warnings: tuple[str, ...],
    *,
    screening: bool,
) -> Verdict:
    """The verdict that follows from the rows."""
    breaches = tuple(Breach(metric=row.metric, text=row.text) for row in gates if row.status == "breach")
    waived = tuple(Breach(metric=row.metric, text=row.text) for row in gates if row.status == "waived")
    outcome = Outcome.FAIL if breaches else Outcome.INCONCLUSIVE if gaps else Outcome.PASS
    return Verdict(
        outcome=outcome,
        reason=reason_for(outcome, breaches, gaps, waived, screening),
        gates=gates,
        controls=controls,
        breaches=breaches,
        gaps=gaps,
        waived=waived,
        warnings=warnings,
        demoted=demotions,
        screening=screening,
    )


def _rules(
    case: Case, demotions: Sequence[Demotion], waivers: Sequence[Waiver], today: date, *, screening: bool
) -> gate_rows.Rules:
    mine = [waiver for waiver in waivers if waiver.checkpoint_sha256 == case.checkpoint_sha256]
    valid = {waiver.gate: waiver for waiver in mine if waiver.expires >= today}
    return gate_rows.Rules(
        case=case,
        doubts={demotion.metric: demotion.reason for demotion in demotions},
        screening=screening,
        valid=valid,
        lapsed={waiver.gate: waiver for waiver in mine if waiver.expires < today and waiver.gate not in valid},
    )


def _general(case: Case, *, screening: bool) -> tuple[Gap, ...]:
    """What is lacking that belongs to no gate and no control."""
    gaps = []
    for given, reason in ((case.has_reference, Reason.NO_REFERENCE), (case.has_holdout, Reason.NO_HOLDOUT)):
        if not given and not screening:
            gaps.append(Gap(text=REASON_TEXT[reason], remedy=REMEDIES[reason]))
    gaps += [Gap(text=f"the network is in doubt: {doubt}", remedy=NAME_IT) for doubt in case.network_doubts]
    if not case.budget_complete:
        gaps.append(
            Gap(text="the budget ended before every attack run was done", remedy="raise --budget, or resume the run")
        )
    seen = [case.find(metric) for metric in SCREENED]
    if screening and not any(isinstance(m, Measured) and m.control is not None for m in seen):
        gaps.append(
            Gap(
                metric=Metric.CONSENSUS,
                text="no comparison with the attack without target information was made",
                remedy="run the negative control with two seeds or more",
            )
        )
    return tuple(gaps)


def _agreement_found(case: Case, policy: Policy) -> tuple[Gap, ...]:
    """The gap of a screening in which independent restarts agree beyond those without the weights, interval included.

    No film is there to say whether what they agree on is a patient. A gate on ``consensus`` decides instead.
    """
    found = case.find(Metric.CONSENSUS)
    if policy.gate(Metric.CONSENSUS) is not None or not isinstance(found, Measured):
        return ()
    if found.low is None or found.control is None or found.low <= found.control:
        return ()
    return (
        Gap(
            metric=Metric.CONSENSUS,
            text="independent restarts agree beyond those of the attack without the weights, and no film explains it",
            remedy="give training and hold-out films: only they show whether patients are exposed",
        ),
    )


def _gaps(rows: Iterable[GateDecision | ControlDecision]) -> tuple[Gap, ...]:
    """One gap for each row that lacks something; a control and a gate on the same metric say it once."""
    found = (Gap(metric=row.metric, text=row.text, remedy=row.remedy) for row in rows if row.lacking)
    return tuple(dict.fromkeys(found))


def _warnings(waivers: Sequence[Waiver], gates: Sequence[GateDecision], case: Case) -> tuple[str, ...]:
    used = {row.metric for row in gates if row.status in ("breach", "waived")}
    warnings = []
    for waiver in waivers:
        if waiver.checkpoint_sha256 != case.checkpoint_sha256:
            warnings.append(f"waiver for {waiver.gate.value} belongs to another checkpoint")
        elif waiver.gate not in used:
            warnings.append(f"waiver for {waiver.gate.value} is not needed: the gate is not breached")
    return tuple(warnings)


def reason_for(
    outcome: Outcome, breaches: Sequence[Breach], gaps: Sequence[Gap], waived: Sequence[Breach], screening: bool
) -> str:
    """The verdict in one sentence."""
    if outcome is Outcome.FAIL:
        more = f" (and {len(breaches) - 1} more)" if len(breaches) > 1 else ""
        return f"{breaches[0].text}{more}."
    if outcome is Outcome.INCONCLUSIVE:
        more = f" (and {len(gaps) - 1} more gaps)" if len(gaps) > 1 else ""
        return f"No gate was breached, but a PASS lacks evidence: {gaps[0].text}{more}."
    if screening:
        return "Screening: no gate was breached. Without films no figure is calibrated and no patient was looked for."
    beside = f" {len(waived)} waived." if waived else ""
    return f"This image-level attack at this budget found nothing, and its controls show it would have.{beside}"
