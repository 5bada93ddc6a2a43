"""The table of metrics: everything that holds for a metric wherever it is measured, judged, reported or documented."""

from __future__ import annotations

from functools import partial

from reid_audit.records.entry import Family, MetricEntry
from reid_audit.records.gates import Corroboration, Direction, Gate
from reid_audit.records.metrics import Metric

RATE_HOLDOUT = 100
"""Hold-out patients from which a rate at 1 % false alarms is reported: below, the threshold is a guess."""
_PATIENTS = (2, 2)
_RATES = (2, RATE_HOLDOUT)
_CLOSE = "1 means the same image."

_linkage = partial(MetricEntry, family=Family.LINKAGE, compares_reconstructions=True, fewest=_PATIENTS)
_likely = partial(MetricEntry, family=Family.LIKELY, compares_reconstructions=True, fewest=_PATIENTS)
_membership = partial(MetricEntry, family=Family.MEMBERSHIP, fewest=_RATES)
_control = partial(MetricEntry, family=Family.CONTROL, control=False)
_distribution = partial(MetricEntry, family=Family.DISTRIBUTION)
_demographic = partial(MetricEntry, family=Family.DEMOGRAPHICS, compares_reconstructions=True, fewest=_PATIENTS)

_ENTRIES = (
    _linkage(
        Metric.LINKAGE_P,
        "Linkage test (p)",
        "Chance of matches this close to training patients if nothing had leaked.",
        "p",
        direction=Direction.LOWER,
        control=False,
        always_needed=True,
        gate=Gate(
            metric=Metric.LINKAGE_P,
            fail=0.01,
            clear=0.05,
            corroborated_by=(
                Corroboration(metric=Metric.REIDENTIFIED_PATIENTS, above=0),
                Corroboration(metric=Metric.LINKAGE_TPR, above=0.01),
            ),
        ),
    ),
    _linkage(
        Metric.LINKAGE_AUC,
        "Linkage AUC",
        "How well match scores tell training from hold-out patients; 0.5 is guessing.",
        "score",
    ),
    _linkage(
        Metric.LINKAGE_TPR,
        "Patients recovered at 1 % false alarms",
        "Share of training patients this attack finds.",
        "share",
        fewest=_RATES,
        rate=True,
        gate=Gate(metric=Metric.LINKAGE_TPR, clear=0.10),
    ),
    _linkage(
        Metric.REIDENTIFIED_PATIENTS, "Re-identified patients", "Training patients matched beyond chance.", "count"
    ),
    _linkage(
        Metric.SINGLE_HIT,
        "Single hits",
        "Reconstructions that name one training patient on their own.",
        "count",
        none_is_clear=True,
        gate=Gate(metric=Metric.SINGLE_HIT, fail=0.0, clear=0.0),
    ),
    _linkage(
        Metric.NEAREST_MEMBER_SHARE,
        "Nearest patient was in training",
        "Share of reconstructions; the control is chance.",
        "share",
    ),
    _linkage(
        Metric.IDENTIFICATION_RATE,
        "Identified at rank 1",
        "Share of training patients who are a reconstruction's nearest among all; the control is hold-out patients.",
        "share",
    ),
    _linkage(
        Metric.IDENTIFICATION_RATE_AT_10,
        "Identified at rank 10",
        "Share of training patients among a reconstruction's ten nearest; the control is hold-out patients.",
        "share",
    ),
    _linkage(
        Metric.ENCODER_LINKAGE_P,
        "Linkage test by the encoder (p)",
        "The linkage test by a re-identification encoder, corrected for a second look.",
        "p",
        direction=Direction.LOWER,
        control=False,
        gate=Gate(
            metric=Metric.ENCODER_LINKAGE_P,
            fail=0.01,
            corroborated_by=(Corroboration(metric=Metric.ENCODER_REIDENTIFIED_PATIENTS, above=0),),
        ),
    ),
    _linkage(
        Metric.ENCODER_REIDENTIFIED_PATIENTS,
        "Re-identified patients by the encoder",
        "Training patients whom the encoder matches with a reconstruction beyond chance.",
        "count",
    ),
    _linkage(
        Metric.ENCODER_IDENTIFICATION_RATE,
        "Identified at rank 1 by the encoder",
        "Share of training patients whom the encoder names first for a reconstruction; the control is the hold-out.",
        "share",
    ),
    _membership(
        Metric.MEMBERSHIP_AUC,
        "Membership AUC",
        "How well the weights tell training from hold-out patients; 0.5 is guessing.",
        "score",
        gate=Gate(metric=Metric.MEMBERSHIP_AUC, fail=0.65, clear=0.70),
    ),
    _membership(
        Metric.MEMBERSHIP_TPR,
        "Patients recognised at 1 % false alarms",
        "Share of training patients the weights give away to someone holding films.",
        "share",
        always_needed=True,
        rate=True,
        gate=Gate(metric=Metric.MEMBERSHIP_TPR, fail=0.05, clear=0.10),
    ),
    _membership(
        Metric.MEMBERSHIP_MAX_P,
        "Patient who stands out most (p)",
        "Corrected for looking at every patient.",
        "p",
        direction=Direction.LOWER,
        control=False,
    ),
    _membership(
        Metric.RECOGNISED_PATIENTS,
        "Recognised patients",
        "Training patients the weights give away one by one, at the policy's false-discovery rate.",
        "count",
    ),
    _membership(
        Metric.MEMBERSHIP_WORST_GROUP,
        "Most exposed group",
        "Share of its training patients recognised at 1 % false alarms; the control is the share of all.",
        "share",
    ),
    _membership(
        Metric.MEMBERSHIP_DISPARITY,
        "Disparity between groups",
        "How far the recognised share of one group lies above that of everybody else.",
        "share",
    ),
    _membership(
        Metric.GENERALISATION_GAP,
        "Generalisation gap",
        "Share of right answers on training films less that on hold-out films; memorisation shows in it.",
        "score",
        control=False,
        fewest=_PATIENTS,
    ),
    _likely(
        Metric.LIKELY_SAMPLES,
        "Likely samples",
        "Reconstructions the weights prefer, and whose nearest patient was in training; the control is chance.",
        "count",
        without_films="Reconstructions the weights prefer to 99 in 100 of those made without them.",
        gate=Gate(
            metric=Metric.LIKELY_SAMPLES,
            fail=5.0,
            basis="excess",
            corroborated_by=(Corroboration(metric=Metric.REIDENTIFIED_PATIENTS, above=0),),
        ),
    ),
    _likely(
        Metric.NEAREST_SSIM,
        "Similarity of nearest match (SSIM)",
        f"Likely samples and their nearest training patients; {_CLOSE}",
        "score",
        gate=Gate(metric=Metric.NEAREST_SSIM, fail=0.05, basis="excess"),
    ),
    _likely(
        Metric.NEAREST_NN,
        "Similarity of nearest match (NN)",
        f"The same, as the cosine in the match space; {_CLOSE}",
        "score",
        gate=Gate(metric=Metric.NEAREST_NN, fail=0.05, basis="excess"),
    ),
    MetricEntry(
        Metric.CONSENSUS,
        "Agreement across seeds",
        "Similarity of independent reconstructions.",
        "score",
        Family.AGREEMENT,
    ),
    _control(Metric.ATTACK_POWER, "Attack finds planted patients (p)", "Same attack, copy with known patients.", "p"),
    _control(
        Metric.SCORER_SENSITIVITY,
        "Scorer finds degraded films",
        "Share of degraded training films found.",
        "share",
        measured_by="sensitivity:in_audit",
        control=True,
    ),
    _control(
        Metric.MEMBERSHIP_CONTROL,
        "Scores find planted patients",
        "Share found at 1 % false alarms.",
        "share",
        control=True,
    ),
    _control(
        Metric.PREPROCESS_FIT,
        "Preprocessing misfit above the best",
        "How much better another preprocessing would fit.",
        "score",
    ),
    _control(Metric.NEGATIVE_CONTROL_P, "Attack without the model (p)", "Must not be flagged.", "p", fewest=_PATIENTS),
    _control(
        Metric.EXCHANGEABILITY_P,
        "Training and hold-out alike (p)",
        "Small: the two sets differ in kind.",
        "p",
        fewest=(5, 5),
        measured_by="exchangeability:in_audit",
    ),
    _distribution(Metric.PIXEL_ENTROPY_PRIOR, "Pixel entropy, original", "Before the attack.", "bits", control=False),
    _distribution(Metric.PIXEL_ENTROPY_TUNED, "Pixel entropy, tuned", "After the attack.", "bits", control=False),
    _distribution(
        Metric.PIXEL_ENTROPY_REFERENCE, "Pixel entropy, reference", "Training images.", "bits", control=False
    ),
    _distribution(Metric.PCA_KURTOSIS_PRIOR, "PCA kurtosis, original", "Before the attack.", "score", control=False),
    _distribution(Metric.PCA_KURTOSIS_TUNED, "PCA kurtosis, tuned", "After the attack.", "score", control=False),
    _distribution(Metric.PCA_KURTOSIS_REFERENCE, "PCA kurtosis, reference", "Training images.", "score", control=False),
    _distribution(Metric.FID_PRIOR_TUNED, "FID, original to tuned", "How far the attack moved the images.", "score"),
    _distribution(
        Metric.FID_TUNED_REFERENCE, "FID, tuned to reference", "Distance to the training images after it.", "score"
    ),
    _distribution(
        Metric.FID_PRIOR_REFERENCE, "FID, original to reference", "Distance to the training images before it.", "score"
    ),
    _demographic(
        Metric.AGE_MAE_RECONSTRUCTION,
        "Age error, reconstruction",
        "Mean absolute error.",
        "years",
        direction=Direction.LOWER,
    ),
    _demographic(
        Metric.AGE_MAE_NEAREST,
        "Age error, nearest neighbour",
        "Mean absolute error.",
        "years",
        direction=Direction.LOWER,
    ),
    _demographic(
        Metric.AGE_MAE_BASE,
        "Age error, guessing the median",
        "Mean absolute error.",
        "years",
        direction=Direction.LOWER,
        control=False,
        compares_reconstructions=False,
    ),
    _demographic(
        Metric.SEX_ACCURACY_RECONSTRUCTION,
        "Sex correct, reconstruction",
        "Share of reconstructions with the sex of the nearest training patient.",
        "share",
        gate=Gate(metric=Metric.SEX_ACCURACY_RECONSTRUCTION, fail=0.20, basis="excess"),
    ),
    _demographic(
        Metric.SEX_ACCURACY_NEAREST,
        "Sex correct, nearest neighbour",
        "The same, read from the most similar film.",
        "share",
    ),
    _demographic(
        Metric.SEX_ACCURACY_BASE,
        "Sex correct, guessing the majority",
        "Share of training patients, without looking at any image.",
        "share",
        control=False,
        compares_reconstructions=False,
    ),
)

METRICS: dict[Metric, MetricEntry] = {entry.metric: entry for entry in _ENTRIES}
"""Every metric, in the order of docs/metrics.md."""
RATES = frozenset(entry.metric for entry in _ENTRIES if entry.rate)
"""Shares of training patients found at 1 % false alarms."""


def family(*families: Family) -> frozenset[Metric]:
    """The metrics of these families."""
    return frozenset(entry.metric for entry in _ENTRIES if entry.family in families)


def direction_of(metric: Metric) -> Direction:
    """p-values of a leak and errors of a reading become riskier downwards, everything else upwards."""
    return METRICS[metric].direction


def default_gates() -> tuple[Gate, ...]:
    """The shipped thresholds."""
    return tuple(entry.gate for entry in _ENTRIES if entry.gate is not None)


def unevaluable(gate: Gate) -> str:
    """Why ``gate`` can never be evaluated, or never fail or clear anybody, as it is written; empty where it can."""
    entry = METRICS[gate.metric]
    if gate.basis == "excess" and not entry.control:
        return "it has no control that an excess could be measured over"
    limits = [limit for limit in (gate.fail, gate.clear) if limit is not None]
    if entry.unit in ("share", "p") and any(abs(limit) > 1 for limit in limits):
        return "its values lie between 0 and 1"
    if gate.basis == "value" and entry.unit in ("share", "p", "count", "years") and any(limit < 0 for limit in limits):
        return "its values are not negative"
    return ""
