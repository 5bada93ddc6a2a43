"""What would supply a measurement that is missing."""

from __future__ import annotations

from reid_audit.records import METRICS, RATE_HOLDOUT, REASON_TEXT, Metric, Reason, Unmeasured
from reid_audit.score.calibration import members_needed

_KINDS = METRICS[Metric.EXCHANGEABILITY_P].fewest
REMEDIES: dict[Reason, str] = {
    Reason.NO_REFERENCE: "give the training films with --reference",
    Reason.NO_HOLDOUT: "give films of other patients from the same source with --holdout",
    Reason.TOO_FEW_HOLDOUT: f"give at least {RATE_HOLDOUT} hold-out patients beside the canaries",
    Reason.TOO_FEW_REFERENCE: f"give every patient the network was trained on, {members_needed(0.10)} or more",
    Reason.NO_LABELS: "name the manifest's column of training labels with --label",
    Reason.FILMS_UNKNOWN: (
        "give with --reference the films that were in the training, with the labels it learned, and check [preprocess]"
    ),
    Reason.HOLDOUT_KNOWN: (
        "check that --reference and --holdout are not exchanged, and that no film of the training is in the hold-out"
    ),
    Reason.LABELS_UNANSWERED: (
        "name the column that the network learned with --label, check that each row holds the label of its own film, "
        "and declare [preprocess] as the training code has it: under a wrong one every label is answered by chance"
    ),
    Reason.NO_ENCODER: "give a re-identification encoder with --encoder",
    Reason.BUDGET: "raise --budget, or resume the run on a machine with more cores or a GPU",
    Reason.CONTROL_NOT_RUN: "run with a profile that includes this control",
    Reason.NOT_NEEDED: "audit again under this policy: an earlier verdict had spared this control",
    Reason.NOT_EXCHANGEABLE: "give hold-out films from the same source as the training films, labelled in the same way",
    Reason.EXCHANGEABILITY_UNKNOWN: (
        f"raise --budget, and give at least {_KINDS[0]} training patients and {_KINDS[1]} hold-out patients beside the "
        f"canaries, so that {Metric.EXCHANGEABILITY_P.value} is measured"
    ),
    Reason.PRIOR_OVERLAP: "use a prior that declares training sets disjoint from both cohorts",
    Reason.CONTROL_FLAGGED: "use another prior, and check that the films were split by patient at random",
    Reason.NO_DATA_STATISTICS: "none: the network stores no data statistics",
    Reason.PREPROCESS_UNEXPLAINED: (
        "check that --reference are the films of the training, and declare [preprocess] as the training code has it"
    ),
    Reason.PRIOR_TOO_SMALL: "use a prior fitted on more images",
}
"""What to do about each reason."""


def said_unmeasured(measurement: Unmeasured) -> tuple[str, str]:
    """In words: why a measurement is missing, and what would supply it."""
    text = f"{measurement.metric.value} was not measured: {REASON_TEXT[measurement.reason]}"
    return text, REMEDIES.get(measurement.reason, "see docs/metrics.md for what this metric needs")
