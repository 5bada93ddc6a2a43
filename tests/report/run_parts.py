"""What the records of example audits share: network, prior, films, stages, controls and the shapes of figures."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

from reid_audit.records import (
    ArchMatch,
    AttackRun,
    Budget,
    Candidate,
    CheckpointSummary,
    CohortSummary,
    Curve,
    GreyValues,
    Histogram,
    LeftOut,
    Measured,
    Measurement,
    Metric,
    Policy,
    PredictorCard,
    PreprocessSpec,
    PriorCard,
    Reason,
    Scaling,
    Spend,
    StoppedBy,
    ToolInfo,
    Unmeasured,
)

DONE = StoppedBy.COMPLETE


def sha(letter: str) -> str:
    """A recognisable digest."""
    return (letter * 64)[:64]


def bell(low: float, high: float, mean: float, sd: float, observed: float, metric: Metric) -> Histogram:
    edges = [low + (high - low) * i / 40 for i in range(41)]
    counts = [
        round(9999 * (high - low) / 40 / sd / 2.507 * math.exp(-((((a + b) / 2 - mean) / sd) ** 2) / 2))
        for a, b in pairwise(edges)
    ]
    return Histogram(id=metric, edges=tuple(edges), counts=tuple(counts), observed=observed)


def roc(power: float) -> Curve:
    x = tuple(i / 387 for i in range(388))
    return Curve(id="membership_roc", x=x, y=tuple(v**power for v in x))


def attack_runs(seconds: float, steps: int) -> tuple[AttackRun, ...]:
    def spend(share: float, steps: int) -> Spend:
        return Spend(seconds=round(seconds * share, 1), steps=steps, stopped_by=DONE)

    return (
        AttackRun(name="target", spend=spend(0.46, steps), energy_start=412.7, energy_end=1.93, images=56),
        AttackRun(name="negative_control", spend=spend(0.06, 0), images=56),
        AttackRun(name="attack_power", spend=spend(0.36, steps), energy_start=398.1, energy_end=1.41, images=56),
        AttackRun(name="scorer_sensitivity", spend=spend(0.03, 0), images=64),
        AttackRun(name="membership_control", spend=spend(0.05, 50)),
    )


def shift(tuned: tuple[float, float, float]) -> tuple[Measurement, ...]:
    entropy, kurtosis, fid = tuned
    return (
        Measured(metric=Metric.PIXEL_ENTROPY_PRIOR, value=6.91, n=400),
        Measured(metric=Metric.PIXEL_ENTROPY_TUNED, value=entropy, n=56),
        Measured(metric=Metric.PIXEL_ENTROPY_REFERENCE, value=7.42, n=400),
        Measured(metric=Metric.PCA_KURTOSIS_PRIOR, value=0.04, n=400),
        Measured(metric=Metric.PCA_KURTOSIS_TUNED, value=kurtosis, n=56),
        Measured(metric=Metric.PCA_KURTOSIS_REFERENCE, value=0.83, n=400),
        Measured(metric=Metric.FID_PRIOR_TUNED, value=21.4, n=56),
        Measured(metric=Metric.FID_PRIOR_REFERENCE, value=34.8, control=4.1, n=400),
        Measured(metric=Metric.FID_TUNED_REFERENCE, value=fid, control=4.1, n=56),
    )


def controls() -> tuple[Measurement, ...]:
    return (
        Measured(metric=Metric.ATTACK_POWER, value=0.0005, n=8),
        Measured(metric=Metric.SCORER_SENSITIVITY, value=0.72, low=0.59, high=0.82, n=64),
        Measured(metric=Metric.MEMBERSHIP_CONTROL, value=1.0, low=0.63, high=1.0, n=8),
        Measured(metric=Metric.PREPROCESS_FIT, value=0.04, control=0.0002, n=16),
        Measured(metric=Metric.NEGATIVE_CONTROL_P, value=0.47, n=403),
        Measured(metric=Metric.EXCHANGEABILITY_P, value=0.31, n=403),
        Unmeasured(metric=Metric.ENCODER_LINKAGE_P, reason=Reason.NO_ENCODER),
    )


def demographics(n: int, age: float, sex: float) -> tuple[Measurement, ...]:
    return (
        Measured(metric=Metric.AGE_MAE_RECONSTRUCTION, value=age, control=12.6, n=n, p=0.12),
        Measured(metric=Metric.AGE_MAE_NEAREST, value=age - 0.8, control=12.1, n=n),
        Measured(metric=Metric.AGE_MAE_BASE, value=13.4, n=n),
        Measured(
            metric=Metric.SEX_ACCURACY_RECONSTRUCTION,
            value=sex,
            low=sex - 0.04,
            high=sex + 0.04,
            control=0.58,
            n=n,
            p=0.04,
        ),
        Measured(metric=Metric.SEX_ACCURACY_NEAREST, value=sex + 0.02, control=0.6, n=n),
        Measured(metric=Metric.SEX_ACCURACY_BASE, value=0.56, n=n),
    )


def shared_fields() -> dict[str, object]:
    return {
        "tool": ToolInfo(version="0.1.0", python="3.11.7", torch="2.9.0", device="cpu", deterministic=True),
        "started": datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        "method": "moments",
        "checkpoint": CheckpointSummary(
            sha256=sha("4f9a1c"),
            format="safetensors",
            bytes=44_791_592,
            tensors=122,
            parameters=11_177_538,
            dtypes=(("float32", 102), ("int64", 20)),
        ),
        "architecture": ArchMatch(
            name="resnet18",
            library="torchvision",
            family="resnet",
            coverage=1.0,
            candidates=(
                Candidate(name="resnet18", library="timm", coverage=1.0),
                Candidate(name="resnet34", library="torchvision", coverage=0.55),
            ),
            normalisation=(("BatchNorm2d", 20),),
            data_statistics=9600,
            classes=2,
            channels=3,
            side=64,
            side_by="policy",
        ),
        "preprocess": PreprocessSpec(side=64, mean=(0.5,), std=(0.25,)),
        "preprocess_by": "policy",
        "prior": PriorCard(
            id="nih-cxr14-gaussian-64",
            kind="gaussian",
            sha256=sha("b07"),
            side=64,
            declared_training_sets=("NIH ChestX-ray14, 824 patients",),
            images=1213,
            patients=824,
            licence="NIH Clinical Center terms",
            overlap="disjoint",
        ),
        "predictor": PredictorCard(
            id="age-sex-64",
            source="shipped",
            sha256=sha("a9e"),
            side=64,
            declared_training_sets=("NIH ChestX-ray14 (split: prior)",),
            images=1213,
            patients=824,
            licence="NIH Clinical Center terms",
            measured_on="other patients (split holdout)",
            age_mae=9.8,
            age_mae_base=12.8,
            sex_auc=0.91,
            sex_accuracy=0.82,
            overlap="disjoint",
        ),
        "policy": Policy(),
        "policy_sha256": sha("c3d"),
        "budget": Budget(seconds=600, steps=600),
        "seed": 0,
        "options": (
            ("policy", "gate.toml"),
            ("reference", "films/manifest.csv?split=train"),
            ("holdout", "films/manifest.csv?split=holdout"),
            ("strata", "sex"),
            ("label", "Finding 7"),
            ("budget", "600s"),
            ("deterministic", ""),
        ),
        "digests": (("reconstructions", sha("9e1")), ("reference", sha("a11"))),
    }


def cohorts(reference: int, holdout: int) -> tuple[CohortSummary, ...]:
    films = 16 if reference == 16 else 617
    return (
        CohortSummary(
            role="reference",
            patients=reference,
            images=films,
            digest=sha("a11"),
            strata=("sex",),
            files=films,
            left_out=(LeftOut(why="tables and texts", count=2),),
            grey_values=(
                GreyValues(kind="8-bit", bits=8, scaling=Scaling(by="bits"), declared=False, films=films - 4),
                GreyValues(kind="integer", bits=12, scaling=Scaling(by="bits"), declared=False, films=4),
            ),
        ),
        CohortSummary(role="holdout", patients=holdout, images=604, digest=sha("d4"), strata=("sex",), files=604),
    )
