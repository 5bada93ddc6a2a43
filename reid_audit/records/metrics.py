"""Metric ids, and measurements whose absence is a type."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from reid_audit.records.base import Record


class Metric(StrEnum):
    """One word per metric: the same in CLI, policy, docs, report and tests."""

    LIKELY_SAMPLES = "likely_samples"
    RECOGNISED_PATIENTS = "recognised_patients"
    MEMBERSHIP_WORST_GROUP = "membership_worst_group"
    MEMBERSHIP_DISPARITY = "membership_disparity"
    GENERALISATION_GAP = "generalisation_gap"
    NEAREST_SSIM = "nearest_ssim"
    NEAREST_NN = "nearest_nn"
    PIXEL_ENTROPY_PRIOR = "pixel_entropy_prior"
    PIXEL_ENTROPY_TUNED = "pixel_entropy_tuned"
    PIXEL_ENTROPY_REFERENCE = "pixel_entropy_reference"
    PCA_KURTOSIS_PRIOR = "pca_kurtosis_prior"
    PCA_KURTOSIS_TUNED = "pca_kurtosis_tuned"
    PCA_KURTOSIS_REFERENCE = "pca_kurtosis_reference"
    FID_PRIOR_TUNED = "fid_prior_tuned"
    FID_TUNED_REFERENCE = "fid_tuned_reference"
    FID_PRIOR_REFERENCE = "fid_prior_reference"
    LINKAGE_P = "linkage_p"
    LINKAGE_AUC = "linkage_auc"
    NEAREST_MEMBER_SHARE = "nearest_member_share"
    REIDENTIFIED_PATIENTS = "reidentified_patients"
    SINGLE_HIT = "single_hit"
    LINKAGE_TPR = "linkage_tpr_at_1pct_fpr"
    IDENTIFICATION_RATE = "identification_rate"
    IDENTIFICATION_RATE_AT_10 = "identification_rate_at_10"
    ENCODER_LINKAGE_P = "encoder_linkage_p"
    ENCODER_REIDENTIFIED_PATIENTS = "encoder_reidentified_patients"
    ENCODER_IDENTIFICATION_RATE = "encoder_identification_rate"
    MEMBERSHIP_AUC = "membership_auc"
    MEMBERSHIP_TPR = "membership_tpr_at_1pct_fpr"
    MEMBERSHIP_MAX_P = "membership_max_p"
    ATTACK_POWER = "attack_power"
    SCORER_SENSITIVITY = "scorer_sensitivity"
    MEMBERSHIP_CONTROL = "membership_control"
    PREPROCESS_FIT = "preprocess_fit"
    NEGATIVE_CONTROL_P = "negative_control_p"
    EXCHANGEABILITY_P = "exchangeability_p"
    CONSENSUS = "consensus"
    AGE_MAE_RECONSTRUCTION = "age_mae_reconstruction"
    AGE_MAE_NEAREST = "age_mae_nearest"
    AGE_MAE_BASE = "age_mae_base"
    SEX_ACCURACY_RECONSTRUCTION = "sex_accuracy_reconstruction"
    SEX_ACCURACY_NEAREST = "sex_accuracy_nearest"
    SEX_ACCURACY_BASE = "sex_accuracy_base"


class Reason(StrEnum):
    """Why a metric is missing or must not decide. Codes only, with fixed texts, so that no path or id
    slips into a report."""

    NO_REFERENCE = "no_reference"
    NO_HOLDOUT = "no_holdout"
    TOO_FEW_HOLDOUT = "too_few_holdout"
    TOO_FEW_REFERENCE = "too_few_reference"
    NO_AGES = "no_ages"
    NO_LABELS = "no_labels"
    LABELS_UNANSWERED = "labels_unanswered"
    FILMS_UNKNOWN = "films_unknown"
    HOLDOUT_KNOWN = "holdout_known"
    NO_GROUPS = "no_groups"
    NO_SEXES = "no_sexes"
    SMALL_CELL = "small_cell"
    NO_PREDICTOR = "no_predictor"
    NO_ENCODER = "no_encoder"
    PREDICTOR_OVERLAP = "predictor_overlap"
    NO_DATA_STATISTICS = "no_data_statistics"
    CONTROL_NOT_RUN = "control_not_run"
    NOT_NEEDED = "not_needed"
    NO_GENERATOR = "no_generator"
    NOT_EXCHANGEABLE = "not_exchangeable"
    EXCHANGEABILITY_UNKNOWN = "exchangeability_unknown"
    PRIOR_OVERLAP = "prior_overlap"
    CONTROL_FLAGGED = "control_flagged"
    PRIOR_TOO_SMALL = "prior_too_small"
    TOO_FEW_RECONSTRUCTIONS = "too_few_reconstructions"
    NONE_LIKELY = "none_likely"
    BUDGET = "budget"
    PREPROCESS_UNEXPLAINED = "preprocess_unexplained"
    NOT_COMPUTED = "not_computed"


REASON_TEXT: dict[Reason, str] = {
    Reason.NO_REFERENCE: "no training images were given (--reference)",
    Reason.NO_HOLDOUT: "no hold-out images were given (--holdout)",
    Reason.TOO_FEW_HOLDOUT: "too few hold-out patients to resolve this",
    Reason.TOO_FEW_REFERENCE: "too few training patients to resolve this",
    Reason.NO_AGES: "the manifests give no ages",
    Reason.NO_GROUPS: "no group of patients known from the manifests has 10 training patients beside 10 others",
    Reason.NO_LABELS: "no training labels were given that fit the classifier (--label)",
    Reason.FILMS_UNKNOWN: (
        "the network errs on its training films many times more often than it expects, as on films it never saw"
    ),
    Reason.HOLDOUT_KNOWN: "the network knows the hold-out films better than the films it is said to have learned",
    Reason.LABELS_UNANSWERED: (
        "the network answers its training films no better than by chance under the training labels that were given"
    ),
    Reason.NO_SEXES: "the manifests give no sexes",
    Reason.SMALL_CELL: "fewer than 10 people: suppressed in the public report",
    Reason.NO_PREDICTOR: "no age and sex predictor is known to suit these films (--demographics)",
    Reason.NO_ENCODER: "no re-identification encoder was given (--encoder)",
    Reason.PREDICTOR_OVERLAP: "the age and sex predictor has seen films of these patients and reads them better",
    Reason.NO_DATA_STATISTICS: "the network stores no data statistics (no BatchNorm)",
    Reason.CONTROL_NOT_RUN: "the policy or the profile left this control out",
    Reason.NOT_NEEDED: "the verdict was already settled without it",
    Reason.NO_GENERATOR: "the method tunes no generator",
    Reason.NOT_EXCHANGEABLE: (
        "training and hold-out images, or their labels, differ in kind, so this comparison would mislead"
    ),
    Reason.EXCHANGEABILITY_UNKNOWN: (
        "whether training and hold-out images are of one kind was not measured, so this comparison may mislead"
    ),
    Reason.PRIOR_OVERLAP: "the prior has seen films of these patients, so a match may come from the prior",
    Reason.CONTROL_FLAGGED: "the attack without the model is flagged too, so a match need not come from the weights",
    Reason.PRIOR_TOO_SMALL: "the prior declares too few images for this",
    Reason.TOO_FEW_RECONSTRUCTIONS: "too few reconstructions to describe their distribution",
    Reason.NONE_LIKELY: "the weights prefer no reconstruction, so there is none to compare",
    Reason.BUDGET: "the time budget was over before this could be measured",
    Reason.PREPROCESS_UNEXPLAINED: (
        "no preprocessing that was tried makes these training images look like what the network was fed"
    ),
    Reason.NOT_COMPUTED: "not computed in this run",
}


class Measured(Record):
    """A number with its interval, the same number for the control, and the sample size behind it."""

    status: Literal["measured"] = "measured"
    metric: Metric
    value: FiniteFloat
    low: FiniteFloat | None = None
    """Lower end of the 95 % interval, where one is defined."""
    high: FiniteFloat | None = None
    """Upper end of the 95 % interval."""
    control: FiniteFloat | None = None
    """The same quantity where nothing can have leaked (chance, hold-out, or negative control)."""
    n: int | None = None
    """Patients (or images, for distribution metrics) behind the value."""
    p: FiniteFloat | None = None
    """One-sided permutation p, over patients, of the excess over the control, where the metric has one."""
    indicator: bool = False
    """True where the number is shown but must not decide (an assumption of the test is not met)."""


class Unmeasured(Record):
    """A metric that could not be measured, and why."""

    status: Literal["unmeasured"] = "unmeasured"
    metric: Metric
    reason: Reason


Measurement = Annotated[Measured | Unmeasured, Field(discriminator="status")]


def find(measurements: tuple[Measurement, ...], metric: Metric) -> Measurement:
    """The measurement of ``metric``; ``Unmeasured(NOT_COMPUTED)`` where nobody produced one."""
    for measurement in measurements:
        if measurement.metric is metric:
            return measurement
    return Unmeasured(metric=metric, reason=Reason.NOT_COMPUTED)


def replaced(measurements: tuple[Measurement, ...], others: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """``measurements`` with those that ``others`` measures too taken from there."""
    new = {measurement.metric: measurement for measurement in others}
    return tuple(new.get(measurement.metric, measurement) for measurement in measurements)
