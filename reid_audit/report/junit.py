"""``report.junit.xml``: one test case for each gate and control, and one for the verdict."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from reid_audit.records import Outcome
from reid_audit.report import plain, wording, words
from reid_audit.report.wire import ControlRow, GateRow, PublicReport


def render_junit(report: PublicReport) -> str:
    """Breaches are failures, an audit that did not run is an error, everything undecided is skipped."""
    cases = [_verdict(report), *(_gate(g, report) for g in report.gates), *(_control(c) for c in report.controls)]
    cases += [_outcome(_case("network", n.name), n.outcome, plain.network_reason(n)) for n in report.networks]
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
    outcome, said = report.verdict.outcome, f"{plain.headline(report)} {plain.meaning(report)}"
    case = _outcome(_case("verdict", words.OUTCOME_WORD[outcome]), outcome, said)
    found = (wording.of_finding(finding, report) for finding in report.findings)
    ET.SubElement(case, "system-out").text = "\n".join((said, *(f"{one.status}: {one.line}" for one in found)))
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
    return _shown(_case("gate", row.metric.value), wording.of_gate(row, report), row.status, ("clear",))


def _control(row: ControlRow) -> ET.Element:
    return _shown(_case("control", row.name), wording.of_control(row), row.status, ("met",))


def _shown(case: ET.Element, said: wording.Wording, status: str, fine: tuple[str, ...]) -> ET.Element:
    """A breach is a failure, everything else that is not fine is skipped; what was found stands there either way."""
    if status == "breach":
        _say(case, "failure", said.line)
    elif status not in fine:
        _say(case, "skipped", f"{said.status}: {said.line}")
    else:
        ET.SubElement(case, "system-out").text = said.line
    return case
