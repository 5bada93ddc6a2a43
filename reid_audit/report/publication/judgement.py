"""Of the verdict and the networks of a file, what is published."""

from __future__ import annotations

from reid_audit.records import AuditResult, Metric, NetworkRecord, Outcome
from reid_audit.report.publication.evidence import demoted, public_measurement
from reid_audit.report.publication.small_cells import sentence, small_cells, suppressed
from reid_audit.report.publication.subject import NAMED
from reid_audit.report.publication.texts import scrub
from reid_audit.report.wire import Finding, PublicNetwork, PublicVerdict


def public_network(network: NetworkRecord, result: AuditResult) -> PublicNetwork:
    """One line on a network, and the figures of one that the report is not about."""
    own, verdict = network.audited, network.verdict
    known = result.architecture if network.shown else None if own is None else own.architecture
    doubts = {} if verdict is None else {d.metric: d.reason for d in verdict.demoted}
    figures = () if own is None else tuple(demoted(suppressed(m), doubts) for m in own.measurements)
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
        reason=scrub(network.why) if verdict is None else sentence(verdict.reason, hidden),
        breaches=() if verdict is None else tuple(b.metric for b in verdict.breaches),
        gaps=() if verdict is None else tuple(sentence(g.text, hidden, g.metric) for g in verdict.gaps),
        measurements=tuple(public_measurement(m, result.policy, doubts) for m in figures),
    )


def public_verdict(result: AuditResult, hidden: frozenset[Metric]) -> PublicVerdict:
    """The answer, its sentences without figures about few people."""
    verdict = result.verdict
    return PublicVerdict(
        outcome=verdict.outcome,
        exit_code=verdict.exit_code,
        reason=sentence(verdict.reason, hidden),
        breaches=tuple(b.metric for b in verdict.breaches),
        gaps=tuple(sentence(g.text, hidden, g.metric) for g in verdict.gaps),
        waived=tuple(b.metric for b in verdict.waived),
        screening=verdict.screening,
    )


def public_findings(result: AuditResult, hidden: frozenset[Metric]) -> tuple[Finding, ...]:
    """Every sentence behind the verdict, the breaches of other networks of the file included."""
    verdict = result.verdict
    return (
        *(Finding(kind="breach", metric=b.metric, text=sentence(b.text, hidden, b.metric)) for b in verdict.breaches),
        *(
            Finding(kind="breach", text=sentence(f"network {n.place}: {n.verdict.reason}", hidden))
            for n in result.networks
            if not n.shown and n.verdict is not None and n.verdict.outcome is Outcome.FAIL
        ),
        *(Finding(kind="waived", metric=b.metric, text=sentence(b.text, hidden, b.metric)) for b in verdict.waived),
        *(
            Finding(
                kind="gap", metric=g.metric, text=sentence(g.text, hidden, g.metric), remedy=sentence(g.remedy, hidden)
            )
            for g in verdict.gaps
        ),
        *(Finding(kind="warning", text=sentence(w, hidden)) for w in verdict.warnings),
    )
