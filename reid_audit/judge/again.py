"""A finished run under another policy: the same numbers, other thresholds, and never evidence the run does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from reid_audit import figures
from reid_audit.judge.agreement import judge_seeds
from reid_audit.judge.case import Case
from reid_audit.judge.verdict import reason_for
from reid_audit.records import (
    AttackRun,
    AuditResult,
    EncoderPolicy,
    Gap,
    GateDecision,
    Measured,
    Metric,
    Outcome,
    Policy,
    PreprocessPolicy,
    Reason,
    Verdict,
    Waiver,
    find,
)


def case_of(found: AuditResult) -> Case:
    """The case a finished run makes."""
    whole = AttackRun(name="target", spend=found.spend)
    runs = (*found.attack_runs, whole)
    return Case.of(
        found.measurements,
        found.checkpoint,
        found.architecture,
        found.prior.overlap,
        found.cohorts,
        runs,
        found.references,
    )


def judge_again(
    found: AuditResult,
    policy: Policy,
    *,
    waivers: Sequence[Waiver] = (),
    today: date,
    encoder_sha256: str | None = None,
) -> Verdict:
    """The verdict on ``found`` under ``policy``: every attack seed of the run is judged, and they have to agree.

    A policy that asks for what the run did not do (other canaries, another false-discovery rate, other preprocessing,
    another head, another encoder, more repeats) cannot PASS it. encoder_sha256: of the file that the policy's
    ``[encoder]`` names; None: it is not at hand.
    """
    seeds = found.by_seed()
    verdict = judge_seeds(case_of(found), seeds, found.seed, policy, waivers=waivers, today=today)
    undone = (*differences(found.policy, policy, len(seeds)), *_encoder_wanting(found, policy, encoder_sha256))
    gaps = (*undone, *_read_otherwise(found, policy), *_named_code(found, policy), *found.standing)
    return with_gaps(verdict, gaps)


def with_rows(found: AuditResult) -> AuditResult:
    """``found`` with the rows of its gates and controls, where an earlier version recorded none.

    Its outcome, breaches and gaps stay as they were recorded; a row never says less than they do.
    """
    if found.verdict.gates or found.verdict.controls:
        return found
    judged = judge_again(found, found.policy, waivers=found.waivers, today=found.started.date())
    breaches, waived = ({b.metric: b.text for b in group} for group in (found.verdict.breaches, found.verdict.waived))
    gaps = {gap.metric: gap for gap in found.verdict.gaps if gap.metric is not None}

    def recorded(row: GateDecision) -> GateDecision:
        if row.metric in breaches:
            return row.model_copy(update={"status": "breach", "text": breaches[row.metric]})
        if row.metric in waived:
            return row.model_copy(update={"status": "waived", "text": waived[row.metric], "lacking": False})
        if row.status == "breach" or (row.status == "clear" and row.metric in gaps):
            undecided = {"lacking": row.metric in gaps, "uncorroborated": row.status == "breach"}
            return row.model_copy(update={"status": "open", **undecided})
        return row

    gates = tuple(recorded(row) for row in judged.gates)
    verdict = found.verdict.model_copy(update={"gates": gates, "controls": judged.controls})
    return found.model_copy(update={"verdict": verdict})


def with_gaps(verdict: Verdict, gaps: Sequence[Gap]) -> Verdict:
    """``verdict`` lacking more evidence: no longer a PASS, and a FAIL all the same."""
    if not gaps:
        return verdict
    every = (*verdict.gaps, *gaps)
    if verdict.outcome is not Outcome.PASS:
        return verdict.model_copy(update={"gaps": every})
    reason = reason_for(Outcome.INCONCLUSIVE, (), every, (), verdict.screening)
    return verdict.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "gaps": every, "reason": reason})


def differences(ran: Policy, asked: Policy, seeds: int) -> tuple[Gap, ...]:
    """What ``asked`` wants of an audit that a run under ``ran`` with ``seeds`` attack seeds did not do."""
    controls = asked.controls
    found = (
        (asked.repeats > seeds, f"the policy asks for {asked.repeats} attack seeds, the run has {seeds}"),
        (
            controls.plants and controls.canaries != ran.controls.canaries,
            f"the run planted {ran.controls.canaries} canaries, the policy asks for {controls.canaries}",
        ),
        (
            asked.level != ran.level,
            f"patients were counted at a false-discovery rate of {figures.limit(ran.level)}, "
            f"the policy asks for {figures.limit(asked.level)}",
        ),
        (
            _prepared_otherwise(ran.preprocess, asked.preprocess),
            "the run prepared the films in another way than the policy declares",
        ),
    )
    return tuple(
        Gap(text=text, remedy="run 'reid-audit check' under this policy") for differs, text in found if differs
    )


def _named_code(found: AuditResult, asked: Policy) -> tuple[Gap, ...]:
    """What ``asked`` would have refused to read."""
    if asked.pickled_code == "warn" or not found.checkpoint.pickled_code:
        return ()
    named = ", ".join(name[:80] for name in found.checkpoint.pickled_code[:3])
    return (
        Gap(
            text=f"the file names code, which the policy refuses: {named}",
            remedy="audit model.state_dict() alone, best as safetensors",
        ),
    )


def _read_otherwise(found: AuditResult, asked: Policy) -> tuple[Gap, ...]:
    """That the run read the outputs as something else than ``asked`` states."""
    if asked.head in (None, found.architecture.head):
        return ()
    return (
        Gap(
            text=f"the run read the outputs as {found.architecture.head}, the policy states {asked.head}",
            remedy="run 'reid-audit check' under this policy",
        ),
    )


def _encoder_wanting(found: AuditResult, asked: Policy, sha256: str | None) -> tuple[Gap, ...]:
    """That no encoder compared the films, or not the one that ``asked`` names. sha256: of that one's file."""
    text = _other_encoder(found, asked.encoder, sha256) if asked.encoder.checkpoint is not None else ""
    if not text:
        return ()
    remedy = "run 'reid-audit check' under this policy"
    return (Gap(metric=Metric.ENCODER_LINKAGE_P, text=text, remedy=remedy),)


def _other_encoder(found: AuditResult, asked: EncoderPolicy, sha256: str | None) -> str:
    """How the encoder of the run differs from the one ``asked`` for; empty where it does not, or had no time."""
    seen, ran, card = find(found.measurements, Metric.ENCODER_LINKAGE_P), found.policy.encoder, found.encoder
    if not isinstance(seen, Measured) and seen.reason is Reason.NO_ENCODER:
        return "the policy names a re-identification encoder, the run had none"
    if card is None:
        return "" if asked == ran else "the policy names a re-identification encoder, the run does not say which it had"
    if sha256 not in (None, card.sha256):
        return "the policy names another re-identification encoder than the run had"
    if asked.values != ran.values or asked.side not in (None, card.side):
        return "the run showed films to the re-identification encoder in another way than the policy declares"
    if sha256 is None and asked.checkpoint != ran.checkpoint:
        return "the file of the re-identification encoder is not here to be compared with the one that the run had"
    return ""


def _prepared_otherwise(ran: PreprocessPolicy, asked: PreprocessPolicy) -> bool:
    """Whether ``asked`` declares something else than the run was given; a side it leaves open is no difference."""
    if asked.declared is None:
        return False
    side = asked.declared.side or (ran.declared.side if ran.declared is not None else None)
    return asked.model_copy(update={"declared": asked.declared.model_copy(update={"side": side})}) != ran
