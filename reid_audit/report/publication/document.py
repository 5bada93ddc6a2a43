"""AuditResult -> PublicReport, field by field: what is not named here is not published."""

from __future__ import annotations

from reid_audit.records import AuditResult, ReportFields
from reid_audit.report.command import published
from reid_audit.report.publication.evidence import (
    demoted,
    public_attack_runs,
    public_curve,
    public_histogram,
    public_measurement,
    public_over_references,
    public_subgroups,
)
from reid_audit.report.publication.judgement import public_findings, public_network, public_verdict
from reid_audit.report.publication.means import (
    public_cohort,
    public_encoder,
    public_predictor,
    public_prior,
    public_references,
    public_tool,
)
from reid_audit.report.publication.small_cells import DEMOGRAPHIC, sentence, small_cells, suppressed
from reid_audit.report.publication.subject import public_architecture, public_checkpoint, public_preprocess
from reid_audit.report.publication.texts import scrub
from reid_audit.report.rows import control_rows, gate_rows
from reid_audit.report.wire import (
    PublicBudget,
    PublicDeclared,
    PublicReduced,
    PublicReport,
    Seeds,
)
from reid_audit.report.wording import worded

PUBLISHED_DIGESTS = frozenset(
    {"reconstructions", "negative_control", "controls", "policy", "waivers", "index", "lock", "base"}
)
"""Digests of attack products and inputs that are not patients. A cohort's digest would confirm a guessed member."""


def publish(result: AuditResult) -> PublicReport:
    """What of ``result`` may be published. Demographic figures about fewer than 10 people become ``small_cell``."""
    return worded(_published(result))


def _published(result: AuditResult) -> PublicReport:
    """The document, before its findings are put into the words of every format."""
    doubts = {d.metric: d.reason for d in result.verdict.demoted}
    measurements = tuple(demoted(suppressed(m), doubts) for m in result.measurements)
    every = (result, *(network.audited for network in result.networks if network.audited is not None))
    hidden = small_cells(m for one in every for m in one.measurements)
    return PublicReport(
        started=result.started,
        method=scrub(result.method, 120),
        evidence=result.policy.evidence,
        verdict=public_verdict(result, hidden),
        findings=public_findings(result, hidden),
        gates=gate_rows(result, measurements, lambda text: sentence(text, hidden)),
        controls=control_rows(result, measurements, lambda text: sentence(text, hidden)),
        measurements=tuple(public_measurement(m, result.policy, doubts) for m in measurements),
        histograms=tuple(public_histogram(h) for h in result.histograms if h.id not in DEMOGRAPHIC and h.counts),
        curves=tuple(public_curve(c) for c in result.curves if c.id == "membership_roc" and c.x),
        subgroups=public_subgroups(result),
        over_references=public_over_references(result),
        cohorts=tuple(public_cohort(c) for c in result.cohorts),
        attack_runs=public_attack_runs(result),
        budget=_budget(result),
        tool=public_tool(result.tool),
        checkpoint=public_checkpoint(result),
        architecture=public_architecture(result.architecture),
        preprocess=public_preprocess(result),
        prior=public_prior(result),
        predictor=None if result.predictor is None else public_predictor(result.predictor),
        encoder=None if result.encoder is None else public_encoder(result.encoder),
        references=None if result.references is None else public_references(result.references),
        seeds=Seeds(master=result.seed),
        options=published(result.options, result.architecture.name),
        false_discovery_rate=result.policy.level,
        policy_sha256=result.policy_sha256,
        digests=tuple((name, sha) for name, sha in result.digests if name in PUBLISHED_DIGESTS),
        networks=tuple(public_network(network, result) for network in result.networks),
        declared=_declared(result.policy.report),
    )


def _budget(result: AuditResult) -> PublicBudget:
    return PublicBudget(
        seconds=result.budget.seconds,
        spent_seconds=round(result.spend.seconds, 3),
        steps=result.budget.steps,
        spent_steps=result.spend.steps,
        stopped_by=result.spend.stopped_by,
        particles=result.budget.particles,
        reduced=tuple(
            PublicReduced(stage=one.stage, done=one.done, of=one.of, unit=one.unit) for one in result.reduced
        ),
    )


def _declared(report: ReportFields) -> PublicDeclared:
    texts = {name: scrub(getattr(report, name), 120) for name in PublicDeclared.model_fields if name != "sign_off"}
    return PublicDeclared(**texts, sign_off=tuple(scrub(role, 120) for role in report.sign_off))


def with_name(report: PublicReport, weights: str) -> PublicReport:
    """``report`` with another declared name of the weights, or path of them in a repository."""
    declared = report.declared.model_copy(update={"weights": scrub(weights, 120)})
    return report.model_copy(update={"declared": declared})
