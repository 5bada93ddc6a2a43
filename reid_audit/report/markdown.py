"""``report.md``: for a step summary or a model card."""

from __future__ import annotations

import re

from reid_audit.records import Metric, Outcome
from reid_audit.report import plain, wording, words
from reid_audit.report.command import command, repeatability
from reid_audit.report.wire import ControlRow, PublicReport

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
        "\n\n".join(("### Gates", *words.doubts(report), gate_table(report))),
        _bracket(report),
        _groups(report),
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
    lines = []
    for _, group in plain.grouped(report):
        said = group[0]
        label = f" ({plain.labels(group)})" if plain.labels(group) else ""
        pages = ", ".join(f"`{page}`" for page in dict.fromkeys(one.link for one in group))
        lines.append(f"- **{said.status}**{label}: {inert(said.whole)} {pages}")
    return "\n".join(lines)


def network_table(report: PublicReport) -> str:
    """All networks of the file, a row each."""
    if not report.networks:
        return ""
    rows = ["| Network | Architecture | Verdict | Why |", "|---|---|---|---|"]
    for name, network, outcome, why in plain.networks(report):
        rows.append(f"| {inert(name)} | {inert(network)} | {outcome} | {inert(why)} |")
    return "### Networks in the file\n\n" + "\n".join(rows)


def gate_table(report: PublicReport) -> str:
    """Each gate beside what was measured, as a table."""
    rows = [
        "| Gate | Status | Measured | 95 % interval | Control | What decided | Policy | Margin |",
        "|---|---|---:|---|---:|---|---|---:|",
    ]
    for row in report.gates:
        unit, said = words.METRICS[row.metric].unit, wording.of_gate(row, report)
        cells = (
            f"{said.label} `{row.metric}`",
            said.status,
            words.number(row.value, unit, row.limits),
            words.interval(row.low, row.high, unit, row.limits) or "–",
            words.number(row.control, unit),
            inert(" ".join(filter(None, (wording.compared(row), said.cause)))) or "–",
            "; ".join(words.limits(row)) or "–",
            words.number(row.margin, unit, (0,)),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _controls(controls: tuple[ControlRow, ...]) -> str:
    rows = ["| Control | Status | Reached | Needed | Why not |", "|---|---|---:|---|---|"]
    for row in controls:
        said = wording.of_control(row)
        unit = words.METRICS[row.metric].unit if row.metric else "share"
        reached = words.number(row.value, unit, (row.required,))
        why = inert(" ".join(filter(None, (said.cause, said.close)))) if row.status != "met" else ""
        cells = (said.label, said.status, reached, wording.needed(row) or "disjoint", why or "–")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _bracket(report: PublicReport) -> str:
    said = plain.share(report)
    return f"### Recovered and recognised\n\n{inert(said)}" if said else ""


def _groups(report: PublicReport) -> str:
    """Recognised shares by group; empty where no group is known."""
    if not report.subgroups:
        return ""
    head = ["| Group | Patients | Recognised | Interval |", "|---|---:|---:|---:|"]
    rows = []
    for group in report.subgroups:
        name = f"{words.GROUPED_BY[group.by]}: {inert(group.name)}"
        rate, ends = words.number(group.rate, "share"), words.interval(group.low, group.high, "share")
        rows.append(f"| {name} | {group.patients:,} | {rate} | {ends} |")
    return "### Recognised at 1 % false alarms, by group\n\n" + "\n".join([*head, *rows])


def _shift(report: PublicReport) -> str:
    rows = ["| Figure | Original | Tuned | Reference |", "|---|---:|---:|---:|"]
    for name, _, points in plain.SHIFTS:
        why = plain.missing(report, points)
        cells = [_value(report, metric) for metric in (*dict(points).values(), None)[:3]]
        rows.append("| " + " | ".join((f"{name}<br>{inert(why)}" if why else name, *cells)) + " |")
    note = plain.fid_note(report)
    return "### Distribution shift\n\n" + "\n".join(rows) + (f"\n\n{note}" if note else "")


def _value(report: PublicReport, metric: Metric | None) -> str:
    found = report.measured(metric) if metric is not None else None
    return words.digits(None if found is None else found.value)


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
        *([f"- age and sex: {inert(said)}"] if (said := plain.predictor(report)) else ()),
        *([f"- encoder `{report.encoder.sha256}`: {inert(plain.encoder(report))}"] if report.encoder else ()),
        f"- method {inert(report.method)}, seed {report.seeds.master}, reid-audit {inert(report.tool.version)}, "
        f"torch {inert(report.tool.torch)}, {inert(report.tool.device)}, {report.started:%Y-%m-%d}",
        f"- again: `{command(report)}`. {inert(repeatability(report))}",
    )
    return "<details>\n<summary>Provenance</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def inert(text: str) -> str:
    """``text`` without effect as Markdown, HTML or a table cell."""
    return _SPECIAL.sub(r"\\\1", text)
