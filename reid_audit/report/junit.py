"""``report.junit.xml``: one test case for each gate and control, and one for the verdict."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from reid_audit.records import Outcome
from reid_audit.report import words
from reid_audit.report.wire import ControlRow, GateRow, PublicReport


def render_junit(report: PublicReport) -> str:
    """Breaches are failures, an audit that did not run is an error, everything undecided is skipped."""
    cases = [_verdict(report), *(_gate(g, report) for g in report.gates), *(_control(c) for c in report.controls)]
    cases += [_outcome(_case("network", n.name), n.outcome, n.reason) for n in report.networks]
    counts = {kind: str(sum(case.find(kind) is not None for case in cases)) for kind in ("failure", "error", "skipped")}
    seconds = f"{report.budget.spent_seconds:.3f}"
    totals = {
        "tests": str(len(cases)),
        "failures": counts["failure"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "time": seconds,
    }
    suites = ET.Element("testsuites", {"name": "reid-audit", **totals})
    suite = ET.SubElement(
        suites, "testsuite", {"name": report.architecture.name, "timestamp": report.started.isoformat(), **totals}
    )
    suite.extend(cases)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(group: str, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": f"reid-audit.{group}", "name": name, "time": "0"})


def _say(case: ET.Element, kind: str, text: str) -> None:
    ET.SubElement(case, kind, {"message": text})


def _verdict(report: PublicReport) -> ET.Element:
    outcome = report.verdict.outcome
    case = _outcome(_case("verdict", words.OUTCOME_WORD[outcome]), outcome, report.verdict.reason)
    ET.SubElement(case, "system-out").text = report.verdict.reason
    return case


def _outcome(case: ET.Element, outcome: Outcome, reason: str) -> ET.Element:
    if outcome is Outcome.FAIL:
        _say(case, "failure", reason)
    elif outcome in (Outcome.NOT_AUDITED, Outcome.REFUSED):
        _say(case, "error", reason)
    elif outcome is Outcome.INCONCLUSIVE:
        _say(case, "skipped", reason)
    return case


def _gate(row: GateRow, report: PublicReport) -> ET.Element:
    case = _case("gate", row.metric.value)
    said = next((f.text for f in report.findings if f.metric is row.metric and f.kind in ("breach", "waived")), "")
    if row.status == "breach":
        _say(case, "failure", said)
    elif row.status != "clear":
        why = said or words.doubted(row.doubt) or words.GATE_MEANING[row.status]
        _say(case, "skipped", f"{words.GATE_WORD[row.status]}: {why}")
    return case


def _control(row: ControlRow) -> ET.Element:
    case = _case("control", row.name)
    if row.status != "met":
        _say(case, "skipped", words.CONTROL_WORD[row.status])
    return case
