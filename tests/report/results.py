"""Audits with realistic numbers: a leaking net of 16 patients, a regular one of 388, a screening of weights alone."""

from __future__ import annotations

from datetime import date

from run_parts import DONE, attack_runs, bell, cohorts, controls, demographics, roc, sha, shared_fields, shift

from reid_audit.judge import judge_again, united
from reid_audit.records import (
    AuditResult,
    Budget,
    Curve,
    Measured,
    Measurement,
    Metric,
    NetworkRecord,
    Outcome,
    OverReferences,
    Policy,
    PriorCard,
    Reason,
    ReferenceSummary,
    Spend,
    StoppedBy,
    Subgroup,
    Unmeasured,
    Verdict,
    Waiver,
    replaced,
)


def judged(fields: dict[str, object], *warnings: str) -> AuditResult:
    """The audit with its verdict, as the judge sees it on the day it started."""
    unjudged = AuditResult.model_validate({**fields, "verdict": Verdict(outcome=Outcome.NOT_AUDITED, reason="")})
    verdict = judge_again(unjudged, unjudged.policy, waivers=unjudged.waivers, today=unjudged.started.date())
    update = {"verdict": verdict.model_copy(update={"warnings": (*verdict.warnings, *warnings)})}
    return unjudged.model_copy(update=update)


def failing() -> AuditResult:
    """A ResNet-18 overfit on 16 patients: exits 1."""
    measurements = (
        Measured(metric=Metric.LINKAGE_P, value=0.0005, control=0.47, n=403),
        Measured(metric=Metric.LINKAGE_AUC, value=0.904, low=0.823, high=0.963, control=0.508, n=403),
        Measured(metric=Metric.LINKAGE_TPR, value=0.375, low=0.188, high=0.625, control=0.0, n=403),
        Measured(metric=Metric.NEAREST_MEMBER_SHARE, value=0.446, control=0.04, n=56),
        Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=6, n=16),
        Measured(metric=Metric.SINGLE_HIT, value=0, indicator=True, n=56),
        Measured(metric=Metric.MEMBERSHIP_AUC, value=1.0, low=1.0, high=1.0, control=0.5, n=403),
        Measured(metric=Metric.MEMBERSHIP_TPR, value=1.0, low=0.794, high=1.0, control=0.01, n=403),
        Measured(metric=Metric.MEMBERSHIP_MAX_P, value=0.0026, n=16),
        Measured(metric=Metric.LIKELY_SAMPLES, value=31, control=0.6, n=56),
        Measured(metric=Metric.NEAREST_SSIM, value=0.512, low=0.481, high=0.543, control=0.421, n=31),
        Measured(metric=Metric.NEAREST_NN, value=0.334, low=0.291, high=0.378, control=0.187, n=31),
        *controls(),
        *shift((7.31, 0.61, 11.9)),
        *demographics(16, 8.9, 0.81),
    )
    return judged(
        {
            **shared_fields(),
            "cohorts": cohorts(16, 387),
            "attack_runs": attack_runs(196.0, 600),
            "measurements": measurements,
            "histograms": (bell(0.3, 0.7, 0.5, 0.072, 0.904, Metric.LINKAGE_AUC),),
            "curves": (Curve(id="membership_roc", x=(0.0, 1.0), y=(1.0, 1.0)),),
            "spend": Spend(seconds=203.6, steps=1250, stopped_by=DONE),
        },
        "The smallest number of re-identified patients this test can report is 1.",
    )


def passing() -> AuditResult:
    """A regular ResNet-18 trained on 388 patients: exits 0."""
    measurements = (
        Measured(metric=Metric.LINKAGE_P, value=0.42, control=0.51, n=775),
        Measured(metric=Metric.LINKAGE_AUC, value=0.504, low=0.463, high=0.545, control=0.497, n=775),
        Measured(metric=Metric.LINKAGE_TPR, value=0.01, low=0.0, high=0.034, control=0.01, n=775),
        Measured(metric=Metric.NEAREST_MEMBER_SHARE, value=0.518, control=0.501, n=56),
        Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=0, n=388),
        Measured(metric=Metric.SINGLE_HIT, value=0, n=56),
        Measured(metric=Metric.MEMBERSHIP_AUC, value=0.531, low=0.49, high=0.571, control=0.5, n=775),
        Measured(metric=Metric.MEMBERSHIP_TPR, value=0.013, low=0.003, high=0.041, control=0.01, n=775),
        Measured(metric=Metric.MEMBERSHIP_MAX_P, value=0.62, n=388),
        Measured(metric=Metric.LIKELY_SAMPLES, value=2, control=0.6, n=56),
        Measured(metric=Metric.NEAREST_SSIM, value=0.428, low=0.404, high=0.452, control=0.421, n=2),
        Measured(metric=Metric.NEAREST_NN, value=0.192, low=0.161, high=0.223, control=0.187, n=2),
        *controls(),
        *shift((7.12, 0.22, 26.5)),
        *demographics(388, 12.4, 0.57),
    )
    return judged(
        {
            **shared_fields(),
            "cohorts": cohorts(388, 387),
            "attack_runs": attack_runs(211.0, 600),
            "measurements": measurements,
            "histograms": (bell(0.42, 0.58, 0.5, 0.0208, 0.504, Metric.LINKAGE_AUC),),
            "curves": (roc(0.9),),
            "references": ReferenceSummary(count=2, taught_by="labels", epochs=(14, 10)),
            "subgroups": _groups(),
            "over_references": OverReferences(
                references=4, counts=(7, 46, 180, 260, 290), alike=(21.3, 80.1, 210.4, 251.2, 220.0)
            ),
            "spend": Spend(seconds=218.2, steps=1250, stopped_by=DONE),
        },
        "The smallest number of re-identified patients this test can report is 11.",
    )


def _groups() -> tuple[Subgroup, ...]:
    """Who is recognised, by sex; and a group too small to be shown."""
    return (
        Subgroup(by="sex", name="F", patients=171, recognised=3, rate=0.018, low=0.004, high=0.05, difference=0.008),
        Subgroup(by="sex", name="M", patients=217, recognised=2, rate=0.009, low=0.001, high=0.033, difference=-0.008),
        Subgroup(
            by="label", name="Ward 7", patients=40, recognised=1, rate=0.025, low=0.001, high=0.132, difference=0.014
        ),
        Subgroup(
            by="age", name="80 to 99", patients=9, recognised=1, rate=0.111, low=0.003, high=0.482, difference=0.1
        ),
    )


def demoted() -> AuditResult:
    """A passing net whose hold-out films are of another kind: exits 4, and nothing counts."""
    differ = Measured(metric=Metric.EXCHANGEABILITY_P, value=0.0005, n=403)
    return again(passing(), measurements=replaced(passing().measurements, (differ,)))


def again(result: AuditResult, **changes: object) -> AuditResult:
    """``result`` with changes, judged anew."""
    return judged({**dict(result), **changes})


def not_audited() -> AuditResult:
    """The record of an audit that could not be finished: no figure, no verdict on the weights."""
    spend = Spend(seconds=12.4, steps=40, stopped_by=StoppedBy.SECONDS)
    missing = tuple(Unmeasured(metric=g.metric, reason=Reason.NOT_COMPUTED) for g in Policy().gates)
    base = shared_fields()
    prior = PriorCard.model_validate({**dict(base["prior"]), "overlap": "unknown"})  # type: ignore[call-overload]
    result = judged({**base, "measurements": missing, "spend": spend, "prior": prior})
    why = "The machine ran out of memory during the attack."
    update = {"outcome": Outcome.NOT_AUDITED, "reason": why, "gaps": (), "breaches": ()}
    return result.model_copy(update={"verdict": result.verdict.model_copy(update=update)})


def screening() -> AuditResult:
    """Weights alone, no images: exits 4."""
    missing = (
        Metric.LINKAGE_P,
        Metric.LINKAGE_AUC,
        Metric.LINKAGE_TPR,
        Metric.NEAREST_MEMBER_SHARE,
        Metric.REIDENTIFIED_PATIENTS,
        Metric.SINGLE_HIT,
        Metric.MEMBERSHIP_AUC,
        Metric.MEMBERSHIP_TPR,
        Metric.MEMBERSHIP_MAX_P,
        Metric.SCORER_SENSITIVITY,
        Metric.EXCHANGEABILITY_P,
        Metric.NEAREST_SSIM,
        Metric.NEAREST_NN,
        Metric.PIXEL_ENTROPY_REFERENCE,
        Metric.PCA_KURTOSIS_REFERENCE,
        Metric.FID_TUNED_REFERENCE,
        Metric.FID_PRIOR_REFERENCE,
        Metric.AGE_MAE_RECONSTRUCTION,
        Metric.SEX_ACCURACY_RECONSTRUCTION,
    )
    measurements: tuple[Measurement, ...] = (
        Measured(metric=Metric.LIKELY_SAMPLES, value=14, control=0.6, n=56, indicator=True),
        Measured(metric=Metric.CONSENSUS, value=0.61, control=0.44, n=56, indicator=True),
        Measured(metric=Metric.PIXEL_ENTROPY_PRIOR, value=6.91, n=400),
        Measured(metric=Metric.PIXEL_ENTROPY_TUNED, value=7.26, n=56),
        Measured(metric=Metric.PCA_KURTOSIS_PRIOR, value=0.04, n=400),
        Measured(metric=Metric.PCA_KURTOSIS_TUNED, value=0.52, n=56),
        Measured(metric=Metric.FID_PRIOR_TUNED, value=18.2, n=56),
        *(Unmeasured(metric=m, reason=Reason.NO_REFERENCE) for m in missing),
        Unmeasured(metric=Metric.ATTACK_POWER, reason=Reason.NO_HOLDOUT),
        Unmeasured(metric=Metric.MEMBERSHIP_CONTROL, reason=Reason.NO_HOLDOUT),
        Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.NO_REFERENCE),
        Unmeasured(metric=Metric.NEGATIVE_CONTROL_P, reason=Reason.NO_REFERENCE),
    )
    base = shared_fields()
    prior = PriorCard(id="films-gaussian-64", kind="gaussian", sha256=sha("b18"), side=64)
    runs = tuple(run for run in attack_runs(120.0, 600) if run.name in ("target", "negative_control"))
    return judged(
        {
            **base,
            "prior": prior,
            "predictor": None,
            "policy": Policy(evidence="checkpoint"),
            "attack_runs": runs,
            "measurements": measurements,
            "spend": Spend(seconds=64.0, steps=600, stopped_by=StoppedBy.SECONDS),
            "budget": Budget(seconds=64, steps=600),
            "options": (("policy", "gate.toml"), ("budget", "64s")),
        }
    )


def waived() -> AuditResult:
    """A passing net whose one breach somebody answers for."""
    result = passing()
    waiver = Waiver(
        gate=Metric.LIKELY_SAMPLES,
        checkpoint_sha256=result.checkpoint.sha256,
        reason="Phantom films of the test bench, no patients",
        approved_by="Data protection office",
        expires=date(2027, 3, 1),
    )
    many = Measured(metric=Metric.LIKELY_SAMPLES, value=8.6, control=0.6, n=56)
    return again(result, waivers=(waiver,), measurements=replaced(result.measurements, (many,)))


def several() -> AuditResult:
    """A file with a passing network, a failing one in two copies, and one that is not known: exits 1."""
    return united(
        (
            NetworkRecord(name="fold_0", tensors=122, parameters=11_177_538, audited=_beside(passing())),
            NetworkRecord(
                name="fold_1",
                tensors=122,
                parameters=11_177_538,
                copies=(("best_model", "the same in half precision"),),
                beside=("age_branch.weight",),
                audited=_beside(failing()),
            ),
            NetworkRecord(
                name="decoder",
                tensors=38,
                parameters=3_151_552,
                why="no known architecture explains the state_dict (resnet18 (torchvision): 4 of 38 keys)",
                remedy="give its constructor: --arch-factory package.module:function",
            ),
        )
    )


def _beside(result: AuditResult) -> AuditResult:
    """``result`` with tensors that no network runs."""
    architecture = result.architecture.model_copy(update={"unused": ("age_branch.weight", "age_branch.bias")})
    checkpoint = result.checkpoint.model_copy(update={"others": ("decoder",), "beside": ("centers",)})
    return result.model_copy(update={"architecture": architecture, "checkpoint": checkpoint})


JUDGED = (failing, passing, screening, waived, demoted, several)
"""One example of each way in which an audit ends with a verdict."""
