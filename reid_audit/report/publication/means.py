"""Of the tool, the prior, the predictor, the encoder, reference models and cohorts, what is published."""

from __future__ import annotations

from reid_audit.records import (
    AuditResult,
    CohortSummary,
    EncoderCard,
    GreyValues,
    PredictorCard,
    ReferenceSummary,
    ToolInfo,
)
from reid_audit.report.publication.small_cells import SMALL_CELL
from reid_audit.report.publication.texts import scrub, word
from reid_audit.report.wire import (
    PublicCohort,
    PublicEncoder,
    PublicPredictor,
    PublicPrior,
    PublicReferences,
    PublicTool,
)


def public_cohort(c: CohortSummary) -> PublicCohort:
    """One cohort in numbers. Its digest stays private: it would confirm a guessed member."""
    return PublicCohort(
        role=c.role,
        patients=c.patients,
        images=c.images,
        strata=tuple(word(s, "other column") for s in c.strata),
        known_patients=c.known_patients,
        read_from=c.files,
        left_out=tuple((scrub(one.why, 120), one.count) for one in c.left_out),
        grey_values=tuple(_grey(one) for one in c.grey_values[:12]),
    )


def _grey(values: GreyValues) -> str:
    return values.in_words() + (" (not declared)" if values.guessed else "")


def public_prior(result: AuditResult) -> PublicPrior:
    """The card of the prior that the attack drew from."""
    p = result.prior
    return PublicPrior(
        id=scrub(p.id, 120),
        kind=p.kind,
        sha256=p.sha256,
        side=p.side,
        channels=p.channels,
        declared_training_sets=tuple(scrub(s, 120) for s in p.declared_training_sets[:12]),
        images=p.images,
        patients=p.patients,
        licence=scrub(p.licence, 120),
        overlap=p.overlap,
    )


def public_predictor(card: PredictorCard) -> PublicPredictor:
    """The card of what read age and sex; its figures only where they are about ``SMALL_CELL`` people or more."""
    few = card.patients < SMALL_CELL
    return PublicPredictor(
        id=scrub(card.id, 120),
        source=card.source,
        sha256=card.sha256,
        side=card.side,
        declared_training_sets=tuple(scrub(s, 120) for s in card.declared_training_sets[:12]),
        images=card.images,
        patients=card.patients,
        licence=scrub(card.licence, 120),
        measured_on=scrub(card.measured_on, 120),
        age_mae=None if few else card.age_mae,
        age_mae_base=None if few else card.age_mae_base,
        sex_auc=None if few else card.sex_auc,
        sex_accuracy=None if few else card.sex_accuracy,
        overlap=card.overlap,
    )


def public_encoder(card: EncoderCard) -> PublicEncoder:
    """Which network it is, without its file's name, and how well it recognises degraded films."""
    return PublicEncoder(**card.model_dump())


def public_tool(tool: ToolInfo) -> PublicTool:
    """All of it: versions and the kind of device."""
    return PublicTool(**tool.model_dump())


def public_references(references: ReferenceSummary) -> PublicReferences:
    """How many models there were and how each was trained."""
    return PublicReferences(
        count=references.count, taught_by=references.taught_by, given=references.given, epochs=references.epochs
    )
