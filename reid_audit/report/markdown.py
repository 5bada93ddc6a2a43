"""``report.md``: for a step summary or a model card."""

from __future__ import annotations

import re

from reid_audit.records import Metric, Outcome
from reid_audit.report import plain, words
from reid_audit.report.command import command, repeatability
from reid_audit.report.wire import ControlRow, GateRow, PublicReport

MARK: dict[Outcome, str] = {
    Outcome.PASS: "✅",
    Outcome.FAIL: "❌",
    Outcome.INCONCLUSIVE: "❔",
    Outcome.NOT_AUDITED: "⛔",
    Outcome.REFUSED: "⛔",
}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~!])")


def render_markdown(report: PublicReport) -> str:
    """GitHub-flavoured Markdown; verdict first, details after."""
    verdict = report.verdict
    blocks = [
        f"## {MARK[verdict.outcome]} {words.title(report)}: {words.OUTCOME_WORD[verdict.outcome].upper()}",
        f"**{inert(plain.headline(report))}** {plain.meaning(report)}",
        facts(report),
        _findings(report),
        network_table(report),
        "\n\n".join(("### Gates", *words.doubts(report), gate_table(report.gates))),
        _bracket(report),
        "### Controls\n\n" + _controls(report.controls),
        _reduced(report),
        _shift(report),
        _mitigations(report),
        "### What a pass does not mean\n\n" + "\n".join(f"- {line}" for line in words.NOT_A_PASS),
        _provenance(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def facts(report: PublicReport) -> str:
    """Network, cohorts, time and exit code in one line."""
    members, others = words.people(report, "reference"), words.people(report, "holdout")
    return (
        f"`{report.architecture.name}` ({inert(report.architecture.library)}), "
        f"{members if members is not None else 'no'} training patients, "
        f"{others if others is not None else 'no'} hold-out patients, "
        f"{words.duration(report.budget.spent_seconds)}, exit code {report.verdict.exit_code}."
    )


def _reduced(report: PublicReport) -> str:
    """What the time budget made smaller; empty where nothing."""
    if not report.budget.reduced:
        return ""
    rows = [f"| {words.REDUCED[one.stage]} | {one.done:,} | {one.of:,} |" for one in report.budget.reduced]
    return "\n".join(["### Made smaller to fit the time budget", "", "| What | Done | Of |", "|---|---|---|", *rows])


def _findings(report: PublicReport) -> str:
    names = {"breach": "Breach", "waived": "Waived breach", "gap": "Missing evidence", "warning": "Note"}
    lines = []
    for finding, metrics, said, close in plain.grouped(report):
        label = f" ({'; '.join(words.METRICS[m].label for m in metrics)})" if metrics else ""
        lines.append(f"- **{names[finding.kind]}**{label}: {inert(f'{said} {close}'.rstrip())}")
    return "\n".join(lines)


def network_table(report: PublicReport) -> str:
    """All networks of the file, a row each."""
    if not report.networks:
        return ""
    rows = ["| Network | Architecture | Verdict | Why |", "|---|---|---|---|"]
    for name, network, outcome, why in plain.networks(report):
        rows.append(f"| {inert(name)} | {inert(network)} | {outcome} | {inert(why)} |")
    return "### Networks in the file\n\n" + "\n".join(rows)


def gate_table(gates: tuple[GateRow, ...]) -> str:
    """Each gate beside what was measured, as a table."""
    rows = [
        "| Gate | Status | Measured | 95 % interval | Control | Threshold | Margin |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for row in gates:
        unit = words.METRICS[row.metric].unit
        status = words.GATE_WORD[row.status]
        if row.waiver is not None:
            status += f" by {inert(row.waiver.approved_by)} until {row.waiver.expires}: {inert(row.waiver.reason)}"
        if row.doubt is not None:
            status += ", does not count"
        cells = (
            f"{words.METRICS[row.metric].label} `{row.metric}`",
            status,
            words.number(row.value, unit, row.limits),
            words.interval(row.low, row.high, unit, row.limits) or "–",
            words.number(row.control, unit),
            "; ".join(words.limits(row)),
            words.number(row.margin, unit, (0,)),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _controls(controls: tuple[ControlRow, ...]) -> str:
    rows = ["| Control | Status | Reached | Needed |", "|---|---|---:|---|"]
    signs = {"at_least": "at least", "at_most": "at most", "above": "above"}
    for row in controls:
        unit = words.METRICS[row.metric].unit if row.metric else "share"
        reached = words.number(row.value, unit, (row.required,))
        needed = f"{signs[row.direction]} {words.threshold(row.required, unit)}" if row.direction else "disjoint"
        cells = (words.CONTROLS[row.name].label, words.CONTROL_WORD[row.status], reached, needed)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _bracket(report: PublicReport) -> str:
    found = words.recovered(report)
    recognised = report.measured(Metric.MEMBERSHIP_TPR)
    parts = []
    if found is not None:
        parts.append(f"This attack re-identified **{found[0]} of {found[1]}** training patients.")
    if recognised is not None:
        share, beside = recognised.value, (recognised.threshold,)
        bound = f" (up to {words.number(recognised.high, 'share', beside)})" if (recognised.high or 0) > share else ""
        parts.append(
            f"Somebody who already holds films could recognise **{words.number(share, 'share', beside)}**{bound} "
            "of them from the weights, at 1 % false alarms."
        )
    if parts:
        parts.append(plain.bracket_doubt(report))
    return "### Recovered and recognised\n\n" + " ".join(parts).rstrip() if parts else ""


def _shift(report: PublicReport) -> str:
    table = (
        ("Pixel entropy", Metric.PIXEL_ENTROPY_PRIOR, Metric.PIXEL_ENTROPY_TUNED, Metric.PIXEL_ENTROPY_REFERENCE),
        ("PCA kurtosis", Metric.PCA_KURTOSIS_PRIOR, Metric.PCA_KURTOSIS_TUNED, Metric.PCA_KURTOSIS_REFERENCE),
        ("FID to the reference", Metric.FID_PRIOR_REFERENCE, Metric.FID_TUNED_REFERENCE, None),
    )
    rows = ["| Figure | Original | Tuned | Reference |", "|---|---:|---:|---:|"]
    for name, *metrics in table:
        cells = [_value(report, metric) for metric in metrics]
        rows.append("| " + " | ".join((name, *cells)) + " |")
    return "### Distribution shift\n\n" + "\n".join(rows)


def _value(report: PublicReport, metric: Metric | None) -> str:
    found = report.measured(metric) if metric is not None else None
    return "–" if found is None else f"{found.value:.2f}"


def _mitigations(report: PublicReport) -> str:
    lines = plain.mitigations(report)
    return "### What may help\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _provenance(report: PublicReport) -> str:
    sets = "; ".join(report.prior.declared_training_sets) or "not declared"
    lines = (
        f"- checkpoint `{report.checkpoint.sha256}`",
        f"- policy `{report.policy_sha256}`",
        *(f"- {inert(said)}" for said in plain.left_out(report)),
        f"- prior `{report.prior.sha256}`, trained on {inert(sets)}, {report.prior.overlap}",
        *(f"- {inert(said)}" for said in plain.films(report)),
        *([f"- age and sex: {inert(said)}"] if (said := plain.reader(report)) else ()),
        f"- method {inert(report.method)}, seed {report.seeds.master}, reid-audit {inert(report.tool.version)}, "
        f"torch {inert(report.tool.torch)}, {inert(report.tool.device)}, {report.started:%Y-%m-%d}",
        f"- again: `{command(report)}`. {inert(repeatability(report))}",
    )
    return "<details>\n<summary>Provenance</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def inert(text: str) -> str:
    """``text`` without effect as Markdown, HTML or a table cell."""
    return _SPECIAL.sub(r"\\\1", text)
