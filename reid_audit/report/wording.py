"""The one wording of a gate, a control or a finding: terminal, annotations, SARIF, JUnit, HTML and Markdown show it.

Nothing is decided here. Every sentence is made from the judge's own row: the number it compared, the bound that was,
the limit it was held against. Ids (``linkage_p``) stay ids; labels are for reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reid_audit.records import CONTROLS, METRICS, REASON_TEXT, Direction, GateStatus, Metric
from reid_audit.report import words
from reid_audit.report.wire import ControlRow, Finding, GateRow, PublicReport

FINDING_WORD = {"breach": "Breach", "waived": "Waived breach", "gap": "Missing evidence", "warning": "Note"}
CLOSE = "To close it: "
_LONGEST = 400
_SPOKEN: dict[Metric, tuple[str, str]] = {
    Metric.MEMBERSHIP_AUC: ("The weights tell training from hold-out patients with an AUC of ", "guessing has"),
    Metric.NEAREST_SSIM: (
        "Likely reconstructions and their nearest training patients have an SSIM of ",
        "hold-out patients have",
    ),
    Metric.NEAREST_NN: (
        "Likely reconstructions and their nearest training patients have a similarity of ",
        "hold-out patients have",
    ),
    Metric.SEX_ACCURACY_RECONSTRUCTION: (
        "Sex as read from the reconstruction is that of the nearest training patient for ",
        "it is that of the nearest hold-out patient for",
    ),
}
"""Before the number, and before that of the control, where films of both cohorts were compared."""
_ID = re.compile(r"\b(" + "|".join(sorted((m.value for m in Metric), key=len, reverse=True)) + r")\b")
_SIGNS = (("<=", "at most"), (">=", "at least"), ("needed >", "needed above"))


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said of one thing, in the order of reading."""

    label: str
    """What it is called."""
    status: str
    """What became of it, in a word or two."""
    sentence: str
    """What was found, with its number and the limit it was held against."""
    cause: str = ""
    """Why it is undecided, not measured, or does not count."""
    remedy: str = ""
    """What would supply what is lacking; empty where nothing is."""
    link: str = ""
    """The page that explains it, from the repository's root."""

    @property
    def body(self) -> str:
        """Sentence and cause."""
        return " ".join(part for part in (self.sentence, self.cause) if part)

    @property
    def close(self) -> str:
        """The remedy as a sentence of its own; empty where there is none."""
        return CLOSE + self.remedy if self.remedy else ""

    @property
    def whole(self) -> str:
        """Everything but label, status and link."""
        return " ".join(part for part in (self.body, self.close) if part)

    @property
    def line(self) -> str:
        """``whole`` behind its label, for formats that show one text."""
        return f"{self.label}: {self.whole}".rstrip() if self.label else self.whole


def of_gate(row: GateRow, report: PublicReport) -> Wording:
    """One gate of the policy."""
    return Wording(
        label=METRICS[row.metric].label,
        status=gate_status(row),
        sentence=_gate_sentence(row, report),
        cause=_gate_cause(row, report),
        remedy=stopped(row.remedy) if row.remedy else "",
        link=METRICS[row.metric].page,
    )


def of_control(row: ControlRow) -> Wording:
    """One control."""
    entry = CONTROLS[row.name]
    return Wording(
        label=entry.label,
        status=words.CONTROL_WORD[row.status],
        sentence=_control_sentence(row),
        cause=_control_cause(row),
        remedy=stopped(row.remedy) if row.remedy else "",
        link="docs/prior.md" if row.metric is None else METRICS[row.metric].page,
    )


def of_finding(finding: Finding, report: PublicReport) -> Wording:
    """One finding: in the words of the gate or control it is about, else in the judge's own."""
    word, own = FINDING_WORD[finding.kind], _row_of(finding, report)
    if own is not None:
        return Wording(own.label, word, own.sentence, own.cause, own.remedy, own.link)
    text = finding.text
    if finding.metric is not None:
        text = text.replace(f"{finding.metric.value} was not measured", "not measured")
        text = text.replace(f"control {finding.metric.value}:", "reached")
        for sign, said in _SIGNS:
            text = text.replace(sign, said)
    return Wording(
        label=METRICS[finding.metric].label if finding.metric else "",
        status=word,
        sentence=stopped(named(text)),
        remedy=stopped(finding.remedy) if finding.remedy else "",
        link=METRICS[finding.metric].page if finding.metric else "docs/reading-a-report.md",
    )


def worded(report: PublicReport) -> PublicReport:
    """``report`` whose findings carry their wording, for programs that only read the document."""
    found = tuple(_spoken(finding, of_finding(finding, report)) for finding in report.findings)
    return report.model_copy(update={"findings": found})


def _spoken(finding: Finding, said: Wording) -> Finding:
    texts = {"label": said.label, "sentence": said.sentence, "cause": said.cause, "advice": said.remedy}
    return finding.model_copy(update={name: cut(text) for name, text in texts.items()} | {"page": said.link})


def cut(text: str) -> str:
    """``text`` as long as a document's sentence may be."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def gate_status(row: GateRow) -> str:
    """The status in words. A gate that only fails, and did not, is "not breached": nobody asked whether it is clear."""
    return status_word(row.status, row.limit)


def status_word(status: GateStatus, limit: str | None) -> str:
    """The word for a status that was decided against ``limit``."""
    return "Not breached" if status == "clear" and limit == "fail" else words.GATE_WORD[status]


def limit_of(row: GateRow) -> float | None:
    """The threshold that the number was held against."""
    return {"fail": row.fail, "clear": row.clear, None: None}[row.limit]


def decision(row: GateRow) -> str:
    """The comparison behind the status: ``low end 79 %; the policy fails above 5 %``. Empty where none was made."""
    limit = limit_of(row)
    if row.compared is None or limit is None:
        return ""
    unit, over = METRICS[row.metric].unit, " over the control" if row.basis == "excess" else ""
    ends = {"low": "low end ", "high": "high end "}
    name = ends.get(row.bound or "", "p-value " if unit == "p" and not over else "value " if not over else "")
    above, upto = ("at or below", "above") if row.direction is Direction.LOWER else ("above", "up to")
    edge = words.threshold(limit, unit)
    rule = {
        ("fail", True): f"the policy fails {above} {edge}",
        ("fail", False): f"the policy fails only {above} {edge}",
        ("clear", True): f"clear only {upto} {edge}",
        ("clear", False): f"clear {upto} {edge}",
    }[row.limit or "fail", row.beyond]
    return f"{name}{words.number(row.compared, unit, (limit,))}{over}; {rule}"


def compared(row: GateRow) -> str:
    """``decision`` as a sentence; empty where none was made."""
    return because(text) if (text := decision(row)) else ""


def found(row: GateRow, report: PublicReport) -> str:
    """What was measured, in terms of people where it is about people; without a full stop."""
    unit, beside = METRICS[row.metric].unit, row.limits
    value = words.number(row.value, unit, beside)
    spread = words.interval(row.low, row.high, unit, beside)
    about = f" (interval {spread})" if spread else ""
    if row.metric is Metric.LINKAGE_P:
        people = words.recovered(report)
        if people and people[0]:
            return f"{people[0]} of {people[1]} training patients {'was' if people[0] == 1 else 'were'} re-identified"
        close = row.limit == "fail" and row.beyond
        return f"Reconstructions match training patients {'too closely for chance' if close else 'as chance would'}"
    if row.metric is Metric.MEMBERSHIP_TPR:
        return recognised(value, about)
    if row.metric is Metric.LINKAGE_TPR:
        return f"This attack finds {value} of the training patients at 1 % false alarms{about}"
    if row.metric is Metric.SINGLE_HIT:
        name = "reconstruction names one training patient on its own"
        return f"{value} {name if row.value == 1 else 'reconstructions name one training patient on their own'}"
    if row.metric is Metric.LIKELY_SAMPLES:
        return _likely(row, report, about)
    before, control = _SPOKEN.get(row.metric, ("", "")) if len(report.cohorts) == 2 else ("", "")
    said = f"where {control}" if control else "control"
    over = f", {said} {words.number(row.control, unit)}" if row.control is not None else ""
    return f"{before}{value}{about}{over}"


def speaks(row: GateRow) -> bool:
    """Whether ``found`` is a sentence of its own, which needs no label before it."""
    return row.metric in _SPOKEN or row.metric in _PEOPLE


_PEOPLE = (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR, Metric.LINKAGE_TPR, Metric.SINGLE_HIT, Metric.LIKELY_SAMPLES)


def _likely(row: GateRow, report: PublicReport, about: str) -> str:
    """What the count of likely samples says, with films of both cohorts or without."""
    one = row.value == 1
    which = "that the weights prefer" if len(report.cohorts) == 2 else ""
    is_what = (
        "nearest to a training patient"
        if which
        else "preferred by the weights to 99 in 100 of those that were made without them"
    )
    count = f"{words.number(row.value, 'count', row.limits)} reconstruction{'' if one else 's'}"
    chance = f", where chance gives {words.number(row.control, 'count')}" if row.control is not None else ""
    return " ".join(filter(None, (count, which, "is" if one else "are", is_what))) + about + chance


def recognised(value: str, about: str) -> str:
    """What the share of recognised patients says; ``about`` is its interval in brackets."""
    return (
        f"Somebody who already holds films could recognise {value} of the training patients at 1 % false alarms{about}"
    )


def stopped(text: str) -> str:
    """``text`` with a full stop."""
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def named(text: str) -> str:
    """``text`` with metric ids replaced by their labels, first letter in upper case."""
    said = _ID.sub(lambda match: METRICS[Metric(match[0])].label, text)
    return said[:1].upper() + said[1:]


def _row_of(finding: Finding, report: PublicReport) -> Wording | None:
    """The wording of the row that a finding stands for; None where it stands for none."""
    if finding.metric is None:
        return None
    gate = next((row for row in report.gates if row.metric is finding.metric), None)
    if finding.kind == "gap":
        control = next((row for row in report.controls if row.metric is finding.metric and row.lacking), None)
        if control is not None:
            return of_control(control)
    mine = gate is not None and (gate.lacking if finding.kind == "gap" else gate.status == finding.kind)
    if gate is None or not mine or (gate.value is None and gate.status != "unmeasured"):
        return None
    return of_gate(gate, report)


def _gate_sentence(row: GateRow, report: PublicReport) -> str:
    if row.status == "unmeasured":
        return "Not measured." if row.value is None else "There is nothing to compare it with."
    if row.value is None:
        return ""
    if row.doubt is not None:
        return "Measured, but it does not count."
    compared = decision(row)
    return f"{found(row, report)}: {compared}." if compared else f"{found(row, report)}. The policy sets no limit."


def _gate_cause(row: GateRow, report: PublicReport) -> str:
    if row.waiver is not None:
        who = f"{row.waiver.approved_by}, until {row.waiver.expires}: {row.waiver.reason}"
        return stopped(f"Its waiver has expired: {who}" if row.status == "breach" else f"Waived by {who}")
    if row.doubt is not None:
        return because(REASON_TEXT[row.doubt])
    if row.status == "unmeasured" or row.value is None:
        missing = words.absent(report, row.metric)
        return because(missing) if missing else "It has no control in this run, so its excess cannot be judged."
    if row.status == "indicator":
        return "An assumption of its test is not met, so it decides nothing."
    if row.status == "open" and row.uncorroborated:
        partner = words.partners(row)
        return because(f"it {partner}, which is not so here" if partner else "it does not hold with every attack seed")
    return ""


def because(text: str) -> str:
    """``text`` as a sentence."""
    return stopped(text[:1].upper() + text[1:])


def _control_sentence(row: ControlRow) -> str:
    if row.metric is None:
        return ""
    if row.value is None:
        return "Not measured." if row.status == "unmeasured" else ""
    unit = METRICS[row.metric].unit
    low = CONTROLS[row.name].bound == "low" and row.low is not None
    reached = words.number(row.low if low else row.value, unit, (row.required,))
    return f"{'Low end' if low else 'Reached'} {reached}; needs {needed(row)}."


def needed(row: ControlRow) -> str:
    """What a control has to reach, such as ``at most 0.01``; empty for one without a number."""
    if row.direction is None or row.metric is None:
        return ""
    said = {"at_least": "at least", "at_most": "at most", "above": "above"}[row.direction]
    return f"{said} {words.threshold(row.required, METRICS[row.metric].unit)}"


def _control_cause(row: ControlRow) -> str:
    if row.status == "not_required":
        return "The policy does not ask for it."
    if row.metric is None:
        return {
            "met": "The prior shares no patients with this audit.",
            "missed": "The prior has seen films of these cohorts.",
            "unmeasured": "The prior does not say what it was trained on.",
        }[row.status]
    return because(REASON_TEXT[row.reason]) if row.reason is not None else ""
