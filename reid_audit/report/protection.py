"""``data-protection.html``: the same record for a data-protection officer, made to be printed and signed."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from reid_audit.records import COHORTS, METRICS, Metric, Outcome
from reid_audit.report import charts, plain, wording, words
from reid_audit.report.protection_words import (
    FILL,
    GLOSSARY,
    PROPORTIONALITY,
    QUESTIONS,
    SEVERITY,
    Question,
)
from reid_audit.report.templating import page
from reid_audit.report.wire import GateRow, PublicReport
from reid_audit.report.wording import Wording

ANSWER = {
    "breach": "Yes, beyond what the policy allows.",
    "waived": "Yes, and a named person answers for it.",
    "lacking": "Not settled.",
    "nothing": "Nothing was found.",
    "unasked": "Not examined.",
}
_ORDER = ("breach", "waived", "lacking", "nothing", "idle")


class Answer(NamedTuple):
    """One question and its answer; sentence, figure and plot are of one gate, so they cannot disagree."""

    question: Question
    kind: str
    answer: str
    label: str
    metric: str
    sentence: str
    figure: str
    spread: str
    plot: Markup
    others: tuple[str, ...]
    """What the other gates of the question say."""


def render_protection(report: PublicReport) -> str:
    """The whole edition as one offline page; page numbers and page breaks are for print."""
    return page(
        "protection.html.j2",
        sheets=("report.css", "protection.css"),
        r=report,
        w=words,
        plain=plain,
        d=report.declared,
        title=words.title(report),
        outcome=words.OUTCOME_WORD[report.verdict.outcome],
        answers=answers(report),
        controls=tuple((row, wording.of_control(row)) for row in report.controls),
        scope=scope(report),
        validity=validity(report),
        residual=residual(report),
        assessment=assessment(report),
        glossary=GLOSSARY,
    )


def answers(report: PublicReport) -> tuple[Answer, ...]:
    """The three questions of the Working Party, answered by the verdict's own rows."""
    return tuple(_answer(question, report) for question in QUESTIONS)


def _answer(question: Question, report: PublicReport) -> Answer:
    rows = sorted(
        (row for row in report.gates if row.metric in question.gates),
        key=lambda row: (_ORDER.index(_kind(row)), question.gates.index(row.metric)),
    )
    audited = report.verdict.outcome not in (Outcome.NOT_AUDITED, Outcome.REFUSED)
    if not rows or not audited or all(_kind(row) == "idle" for row in rows):
        missing = wording.of_gate(rows[0], report).body if rows and audited else "The audit did not look into it."
        return Answer(question, "unasked", ANSWER["unasked"], "", "", missing, "", "", Markup(""), ())
    lead, *rest = rows
    said, unit = wording.of_gate(lead, report), METRICS[lead.metric].unit
    spread = words.interval(lead.low, lead.high, unit, lead.limits)
    return Answer(
        question=question,
        kind=_kind(lead),
        answer=ANSWER[_kind(lead)],
        label=said.label,
        metric=lead.metric.value,
        sentence=f"{said.label}: {said.body}",
        figure="" if lead.value is None else words.number(lead.value, unit, lead.limits),
        spread=f"interval {spread}" if spread else "",
        plot=charts.decision_plot(lead, f"answer-{lead.metric}"),
        others=tuple(_beside(wording.of_gate(row, report)) for row in rest),
    )


def _beside(one: Wording) -> str:
    """What a gate says that does not lead."""
    said = one.body if one.body.startswith(one.status) else f"{one.status}. {one.body}"
    return f"{one.label}: {said}"


def _kind(row: GateRow) -> str:
    """The answer that this gate alone gives; ``idle`` where it gives none, because it decides nothing."""
    if row.status in ("breach", "waived"):
        return row.status
    if row.lacking:
        return "lacking"
    return "idle" if row.status in ("unmeasured", "off", "indicator") else "nothing"


def scope(report: PublicReport) -> tuple[str, ...]:
    """What the statement is about, one sentence a line."""
    declared = {"reference": report.declared.training_data, "holdout": report.declared.holdout_data}
    lines = [
        f"The statement is about one file with the SHA-256 {report.checkpoint.sha256}, and about no other.",
        f"The file holds {report.architecture.name}, {report.checkpoint.parameters:,} parameters.",
    ]
    for cohort in report.cohorts:
        called = f" of the data set {declared[cohort.role]}, as declared," if declared[cohort.role] else ""
        lines.append(
            f"{cohort.images:,} {COHORTS[cohort.role]} films of {cohort.patients:,} patients{called} were used."
        )
    if not report.cohorts:
        lines.append("No films were given, so nothing was compared with patients.")
    prior = "; ".join(report.prior.declared_training_sets) or "films that are not declared"
    lines.append(f"The attacker is assumed to know such images in general, from {prior}.")
    return (*lines, *words.NOT_A_PASS)


def validity(report: PublicReport) -> tuple[str, ...]:
    """How long the statement holds, one sentence a line."""
    lines = [
        f"It states what was found on {report.started:%d %B %Y} with reid-audit {report.tool.version}.",
        "It ends with any change of the weights: fine-tuning, pruning, conversion. Audit the changed file.",
        "Repeat it when stronger attacks become known, at the latest with the next review of the assessment.",
    ]
    for row in report.gates:
        if row.waiver is not None and row.status == "waived":
            lines.append(
                f"It rests on a waiver for {METRICS[row.metric].label} by {row.waiver.approved_by}, which ends on "
                f"{row.waiver.expires:%d %B %Y}."
            )
    return tuple(lines)


def residual(report: PublicReport) -> tuple[str, ...]:
    """What may remain, one sentence a line, in the figures of this audit."""
    lines = []
    seen = next((row for row in report.gates if row.metric is Metric.MEMBERSHIP_TPR), None)
    patients = words.people(report, "reference")
    if seen is not None and seen.high is not None and seen.doubt is None:
        most = words.number(seen.high, "share", seen.limits)
        people = f", that is up to {round(seen.high * patients)} of {patients}" if patients else ""
        lines.append(f"The share of training patients who can be recognised may be as high as {most}{people}.")
    else:
        lines.append("How many training patients can be recognised is not bounded by this audit.")
    missed = [wording.of_control(row) for row in report.controls if row.status in ("missed", "unmeasured")]
    if missed:
        named = ", ".join(f"“{one.label}”" for one in missed)
        lines.append(f"These controls do not stand behind the result, so silence is weaker evidence: {named}.")
    lines += [wording.stopped(wording.named(f.text)) for f in report.findings if f.kind == "warning"]
    lines.append("A leak spread thinly over hundreds of patients may stay unseen: the controls plant a handful.")
    lines.append("An attacker with more computing time, other films or another method may find more.")
    return tuple(lines)


def assessment(report: PublicReport) -> tuple[tuple[str, str], ...]:
    """(heading, text) of the blocks for an assessment under Article 35(7) GDPR."""
    found = " ".join(f"{one.question.title}: {one.answer} {one.sentence}".rstrip() for one in answers(report))
    who = report.declared
    system = (
        f"{who.controller or FILL} intends to release the weights of {who.model or report.architecture.name} "
        f"({who.weights or 'file name not declared'}, SHA-256 {report.checkpoint.sha256}). Purpose and recipients: "
        f"{who.purpose or FILL}. The model was trained on films of {words.people(report, 'reference') or FILL} patients"
        f"{f' of {who.training_data}' if who.training_data else ''}."
    )
    helps = " ".join(plain.mitigations(report))
    measures = helps or "No breach was found that would call for further measures against this attack."
    return (
        ("Description of the processing, Art. 35(7)(a)", system),
        ("Necessity and proportionality, Art. 35(7)(b)", PROPORTIONALITY),
        ("Risks to the people concerned, Art. 35(7)(c)", f"{plain.headline(report)} {found}"),
        ("Severity, Art. 35(7)(c)", SEVERITY),
        ("Measures, Art. 35(7)(d)", f"{measures} Decided measures and who answers for them: {FILL}"),
        ("Residual risk", " ".join(residual(report))),
    )
