"""A finished run under another policy: the same numbers, other thresholds, and never evidence the run does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from reid_audit import figures
from reid_audit.judge.agreement import agreed
from reid_audit.judge.verdict import judge, reason_for
from reid_audit.records import (
    ArchMatch,
    AuditResult,
    Gap,
    Outcome,
    Policy,
    PreprocessPolicy,
    StoppedBy,
    Verdict,
    Waiver,
)

COMPLETE = (StoppedBy.COMPLETE, StoppedBy.CONVERGED)


def judge_again(found: AuditResult, policy: Policy, *, waivers: Sequence[Waiver] = (), today: date) -> Verdict:
    """The verdict on ``found`` under ``policy``: every attack seed of the run is judged, and they have to agree.

    A policy that asks for what the run did not do (other canaries, another false-discovery rate, other preprocessing,
    more repeats) cannot PASS it.
    """
    roles = {cohort.role for cohort in found.cohorts}
    seeds = found.by_seed()
    verdicts = [
        judge(
            measurements,
            policy,
            waivers=waivers,
            checkpoint_sha256=found.checkpoint.sha256,
            today=today,
            prior_overlap=found.prior.overlap,
            budget_complete=found.spend.stopped_by in COMPLETE,
            has_reference="reference" in roles,
            has_holdout="holdout" in roles,
        )
        for measurements in seeds
    ]
    needed = policy.agreement if policy.agreement is not None and policy.repeats == len(seeds) else len(seeds)
    verdict = agreed(verdicts, range(found.seed, found.seed + len(seeds)), needed)
    gaps = (
        *doubt_gaps(found.architecture),
        *differences(found.policy, policy, len(seeds)),
        *_named_code(found, policy),
    )
    return with_gaps(verdict, gaps)


def with_gaps(verdict: Verdict, gaps: Sequence[Gap]) -> Verdict:
    """``verdict`` lacking more evidence: no longer a PASS, and a FAIL all the same."""
    if not gaps:
        return verdict
    every = (*verdict.gaps, *gaps)
    if verdict.outcome is not Outcome.PASS:
        return verdict.model_copy(update={"gaps": every})
    reason = reason_for(Outcome.INCONCLUSIVE, (), every, (), verdict.screening)
    return verdict.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "gaps": every, "reason": reason})


def doubt_gaps(match: ArchMatch) -> tuple[Gap, ...]:
    """What a PASS lacks where the network that was audited may not be the one that was trained."""
    remedy = "name the network with --arch, or give its constructor with --arch-factory; docs/checkpoints.md says more"
    return tuple(Gap(text=f"the network is in doubt: {doubt}", remedy=remedy) for doubt in match.doubts)


def differences(ran: Policy, asked: Policy, seeds: int) -> tuple[Gap, ...]:
    """What ``asked`` wants of an audit that a run under ``ran`` with ``seeds`` attack seeds did not do."""
    controls = asked.controls
    planted = controls.attack_power or controls.membership_control
    found = (
        (asked.repeats > seeds, f"the policy asks for {asked.repeats} attack seeds, the run has {seeds}"),
        (
            planted and controls.canaries != ran.controls.canaries,
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


def _prepared_otherwise(ran: PreprocessPolicy, asked: PreprocessPolicy) -> bool:
    """Whether ``asked`` declares something else than the run was told; a side it leaves open is no difference."""
    if asked.declared is None:
        return False
    side = asked.declared.side or (ran.declared.side if ran.declared is not None else None)
    return asked.model_copy(update={"declared": asked.declared.model_copy(update={"side": side})}) != ran
