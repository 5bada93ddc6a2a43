"""AuditResult -> PublicReport, field by field: what is not named here is not published."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

from reid_audit.checkpoint.unwrap import shown
from reid_audit.records import (
    REASON_TEXT,
    ArchMatch,
    AuditResult,
    CohortSummary,
    Curve,
    Family,
    GreyValues,
    Histogram,
    Measured,
    Measurement,
    Metric,
    NetworkRecord,
    Outcome,
    Policy,
    PredictorCard,
    Reason,
    ReportFields,
    Unmeasured,
    family,
)
from reid_audit.report.command import published
from reid_audit.report.rows import control_rows, gate_rows
from reid_audit.report.wire import (
    Finding,
    PublicArchitecture,
    PublicAttackRun,
    PublicBudget,
    PublicCandidate,
    PublicCheckpoint,
    PublicCohort,
    PublicCurve,
    PublicDeclared,
    PublicHistogram,
    PublicMeasured,
    PublicMeasurement,
    PublicNetwork,
    PublicPredictor,
    PublicPreprocess,
    PublicPreprocessFit,
    PublicPrior,
    PublicReduced,
    PublicReferences,
    PublicReport,
    PublicSubgroup,
    PublicTool,
    PublicUnmeasured,
    PublicVerdict,
    Seeds,
)
from reid_audit.report.wording import worded

NAMED = 24
"""Tensors that lie beside a network and are listed by name."""
SMALL_CELL = 10
"""Demographic figures about fewer people are not published."""
DEMOGRAPHIC = family(Family.DEMOGRAPHICS)
MAX_BINS = 60
PUBLISHED_DIGESTS = frozenset(
    {"reconstructions", "negative_control", "controls", "policy", "waivers", "index", "lock", "base"}
)
"""Digests of attack products and inputs that are not patients. A cohort's digest would confirm a guessed member."""
ROC_GRID: tuple[float, ...] = (
    *(0.0, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07),
    *(round(0.1 + 0.05 * i, 2) for i in range(19)),
)
"""False-positive rates at which curves are published."""

_PATH = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[^\s,;]+|[^\s,;]+\.(?:png|jpe?g|dcm|dicom|npz|npy|csv|tiff?)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"^[A-Za-z_. -]{1,40}$")


def publish(result: AuditResult) -> PublicReport:
    """What of ``result`` may be published. Demographic figures about fewer than 10 people become ``small_cell``."""
    return worded(_published(result))


def _published(result: AuditResult) -> PublicReport:
    """The document, before its findings are put into the words of every format."""
    doubts = {d.metric: d.reason for d in result.verdict.demoted}
    measurements = tuple(_demote(_suppress(m), doubts) for m in result.measurements)
    every = (result, *(network.audited for network in result.networks if network.audited is not None))
    hidden = small_cells(m for one in every for m in one.measurements)
    return PublicReport(
        started=result.started,
        method=scrub(result.method, 120),
        evidence=result.policy.evidence,
        verdict=_verdict(result, hidden),
        findings=_findings(result, hidden),
        gates=gate_rows(result, measurements, lambda text: _said(text, hidden)),
        controls=control_rows(result, measurements, lambda text: _said(text, hidden)),
        measurements=tuple(_measurement(m, result.policy, doubts) for m in measurements),
        histograms=tuple(_histogram(h) for h in result.histograms if h.id not in DEMOGRAPHIC and h.counts),
        curves=tuple(_curve(c) for c in result.curves if c.id == "membership_roc" and c.x),
        subgroups=_subgroups(result),
        cohorts=tuple(_cohort(c) for c in result.cohorts),
        attack_runs=_attack_runs(result),
        budget=_budget(result),
        tool=PublicTool(
            version=result.tool.version,
            python=result.tool.python,
            torch=result.tool.torch,
            device=result.tool.device,
            deterministic=result.tool.deterministic,
        ),
        checkpoint=_checkpoint(result),
        architecture=_architecture(result.architecture),
        preprocess=_preprocess(result),
        prior=_prior(result),
        predictor=None if result.predictor is None else _predictor(result.predictor),
        references=None
        if result.references is None
        else PublicReferences(
            count=result.references.count,
            taught_by=result.references.taught_by,
            given=result.references.given,
            epochs=result.references.epochs,
        ),
        seeds=Seeds(master=result.seed),
        options=published(result.options, result.architecture.name),
        false_discovery_rate=result.policy.level,
        policy_sha256=result.policy_sha256,
        digests=tuple((name, sha) for name, sha in result.digests if name in PUBLISHED_DIGESTS),
        networks=tuple(_network(network, result) for network in result.networks),
        declared=_declared(result.policy.report),
    )


def _cohort(c: CohortSummary) -> PublicCohort:
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


def _network(network: NetworkRecord, result: AuditResult) -> PublicNetwork:
    """One line on a network, and the figures of one that the report is not about."""
    own, verdict = network.audited, network.verdict
    known = result.architecture if network.shown else None if own is None else own.architecture
    doubts = {} if verdict is None else {d.metric: d.reason for d in verdict.demoted}
    figures = () if own is None else tuple(_demote(_suppress(m), doubts) for m in own.measurements)
    hidden = small_cells(result.measurements if network.shown else figures)
    return PublicNetwork(
        name=scrub(network.place, 120),
        shown=network.shown,
        architecture="" if known is None else known.name,
        library="" if known is None else known.library,
        tensors=network.tensors,
        parameters=network.parameters,
        copies=tuple(scrub(f"{where or 'the top of the file'}: {how}") for where, how in network.copies),
        beside=tuple(scrub(name, 120) for name in network.beside[:NAMED]),
        outcome=Outcome.NOT_AUDITED if verdict is None else verdict.outcome,
        reason=scrub(network.why) if verdict is None else _said(verdict.reason, hidden),
        breaches=() if verdict is None else tuple(b.metric for b in verdict.breaches),
        gaps=() if verdict is None else tuple(_said(g.text, hidden, g.metric) for g in verdict.gaps),
        measurements=tuple(_measurement(m, result.policy, doubts) for m in figures),
    )


def small_cells(measurements: Iterable[Measurement]) -> frozenset[Metric]:
    """Metrics about fewer people than are published."""
    found = tuple(_suppress(m) for m in measurements)
    return frozenset(m.metric for m in found if isinstance(m, Unmeasured) and m.reason is Reason.SMALL_CELL)


def scrub(text: str, limit: int = 400) -> str:
    """One line without paths and image names, at most ``limit`` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    clean = _PATH.sub("[file]", flat)
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def word(text: str, otherwise: str) -> str:
    """``text`` where it is a plain name without digits, so that no identifier fits, else ``otherwise``."""
    return text if _WORD.match(text) else otherwise


def _suppress(measurement: Measurement) -> Measurement:
    if not isinstance(measurement, Measured) or measurement.metric not in DEMOGRAPHIC:
        return measurement
    if measurement.n is None or measurement.n < SMALL_CELL:
        return Unmeasured(metric=measurement.metric, reason=Reason.SMALL_CELL)
    return measurement


def _demote(measurement: Measurement, doubts: dict[Metric, Reason]) -> Measurement:
    if isinstance(measurement, Measured) and measurement.metric in doubts:
        return measurement.model_copy(update={"indicator": True})
    return measurement


def _measurement(measurement: Measurement, policy: Policy, doubts: dict[Metric, Reason]) -> PublicMeasurement:
    if isinstance(measurement, Unmeasured):
        return PublicUnmeasured(
            metric=measurement.metric, reason=measurement.reason, text=REASON_TEXT[measurement.reason]
        )
    gate = policy.gate(measurement.metric)
    return PublicMeasured(
        metric=measurement.metric,
        value=measurement.value,
        low=measurement.low,
        high=measurement.high,
        control=measurement.control,
        threshold=gate.fail if gate else None,
        n=measurement.n,
        p=measurement.p,
        indicator=measurement.indicator,
        doubt=doubts.get(measurement.metric),
    )


def _verdict(result: AuditResult, hidden: frozenset[Metric]) -> PublicVerdict:
    verdict = result.verdict
    return PublicVerdict(
        outcome=verdict.outcome,
        exit_code=verdict.exit_code,
        reason=_said(verdict.reason, hidden),
        breaches=tuple(b.metric for b in verdict.breaches),
        gaps=tuple(_said(g.text, hidden, g.metric) for g in verdict.gaps),
        waived=tuple(b.metric for b in verdict.waived),
        screening=verdict.screening,
    )


def _findings(result: AuditResult, hidden: frozenset[Metric]) -> tuple[Finding, ...]:
    verdict = result.verdict
    return (
        *(Finding(kind="breach", metric=b.metric, text=_said(b.text, hidden, b.metric)) for b in verdict.breaches),
        *(
            Finding(kind="breach", text=_said(f"network {n.place}: {n.verdict.reason}", hidden))
            for n in result.networks
            if not n.shown and n.verdict is not None and n.verdict.outcome is Outcome.FAIL
        ),
        *(Finding(kind="waived", metric=b.metric, text=_said(b.text, hidden, b.metric)) for b in verdict.waived),
        *(
            Finding(kind="gap", metric=g.metric, text=_said(g.text, hidden, g.metric), remedy=_said(g.remedy, hidden))
            for g in verdict.gaps
        ),
        *(Finding(kind="warning", text=_said(w, hidden)) for w in verdict.warnings),
    )


def _said(text: str, hidden: frozenset[Metric], about: Metric | None = None) -> str:
    """``text`` scrubbed; replaced where it speaks of a suppressed metric, because it may quote the number."""
    if about in hidden or any(metric.value in text for metric in hidden):
        return f"A gate on age or sex; {REASON_TEXT[Reason.SMALL_CELL]}"
    return scrub(text)


def _histogram(histogram: Histogram) -> PublicHistogram:
    """Neighbouring bins are merged until at most ``MAX_BINS`` remain."""
    edges, counts = list(histogram.edges), list(histogram.counts)
    while len(counts) > MAX_BINS:
        counts = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
        edges = [*edges[:-1:2], edges[-1]]
    return PublicHistogram(metric=histogram.id, edges=tuple(edges), counts=tuple(counts), observed=histogram.observed)


def _curve(curve: Curve) -> PublicCurve:
    """The step curve read off at ``ROC_GRID``, rounded to a thousandth."""
    points = sorted(zip(curve.x, curve.y, strict=True))
    xs = [x for x, _ in points]
    heights = [max((y for _, y in points[: bisect_right(xs, x)]), default=0.0) for x in ROC_GRID]
    return PublicCurve(
        id="membership_roc",
        x=ROC_GRID,
        y=tuple(round(y, 3) for y in heights),
    )


def _subgroups(result: AuditResult) -> tuple[PublicSubgroup, ...]:
    """Groups of ``SMALL_CELL`` training patients and more; words that could name somebody are hidden."""
    return tuple(
        PublicSubgroup(
            by=group.by,
            name=group.name if group.by in ("age", "films") else word(group.name, "other word"),
            patients=group.patients,
            rate=round(group.rate, 3),
            low=round(group.low, 3),
            high=round(group.high, 3),
            difference=round(group.difference, 3),
        )
        for group in result.subgroups[:64]
        if group.patients >= SMALL_CELL
    )


def _attack_runs(result: AuditResult) -> tuple[PublicAttackRun, ...]:
    return tuple(
        PublicAttackRun(
            name=run.name,
            seconds=round(run.spend.seconds, 3),
            steps=run.spend.steps,
            stopped_by=run.spend.stopped_by,
            energy_start=run.energy_start,
            energy_end=run.energy_end,
            images=run.images,
            note=scrub(run.note, 120),
        )
        for run in result.attack_runs
    )


def _checkpoint(result: AuditResult) -> PublicCheckpoint:
    c = result.checkpoint
    return PublicCheckpoint(
        sha256=c.sha256,
        format=scrub(c.format, 120),
        bytes=c.bytes,
        tensors=c.tensors,
        parameters=c.parameters,
        dtypes=c.dtypes,
        wrapper=word(c.wrapper, "other") if c.wrapper else "",
        findings=tuple(scrub(f) for f in c.findings),
        beside=tuple(scrub(name, 120) for name in c.beside[:NAMED]),
        beside_count=len(c.beside),
    )


def _architecture(a: ArchMatch) -> PublicArchitecture:
    return PublicArchitecture(
        name=a.name,
        library=a.library,
        family=a.family,
        key_coverage=a.coverage,
        found_by=a.by,
        candidates=tuple(
            PublicCandidate(name=c.name, library=c.library, key_coverage=c.coverage) for c in a.candidates[:5]
        ),
        missing_keys=a.missing_keys,
        unexpected_keys=a.unexpected_keys,
        normalisation=a.normalisation,
        data_statistics=a.data_statistics,
        head=a.head,
        classes=a.classes,
        input=(a.channels, a.side, a.side),
        left_out=tuple(scrub(shown((name,)), 120) for name in a.unused[:NAMED]),
        left_out_count=len(a.unused),
        untouched_statistics=a.untouched_statistics,
        input_by=a.side_by,
    )


def _preprocess(result: AuditResult) -> PublicPreprocess:
    p, fit = result.preprocess, result.preprocess_fit
    best = result.preprocess_fitting_training_films or (None if fit is None else fit.best)
    return PublicPreprocess(
        decided_by=result.preprocess_by,
        resize_to=p.resize_to,
        fitted_by=None if fit is None else fit.by,
        fitted_on=0 if fit is None else fit.films,
        best="" if best is None else best.toml(),
        tried=tuple(
            PublicPreprocessFit(toml=c.spec.toml(), misfit=c.misfit, augmentation=c.augmentation)
            for c in (() if fit is None else fit.candidates[:8])
        ),
        resize=p.resize,
        crop=p.crop,
        interpolation=p.interpolation,
        mean=p.mean,
        std=p.std,
        invert=p.invert,
        scaling=None if p.scaling is None else p.scaling.toml(),
    )


def _grey(values: GreyValues) -> str:
    return values.in_words() + (" (not declared)" if values.guessed else "")


def _prior(result: AuditResult) -> PublicPrior:
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


def _predictor(card: PredictorCard) -> PublicPredictor:
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
