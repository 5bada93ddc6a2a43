"""One wording: each format shows the same words, and no status, bound, limit or picture disagrees with another."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import results
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from reid_audit.console import show_result
from reid_audit.records import (
    CONTROLS,
    METRICS,
    AuditResult,
    Corroboration,
    Gate,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Policy,
    Reason,
    Unmeasured,
    replaced,
)
from reid_audit.report import plain, publish, render, wording
from reid_audit.report.charts import decision_plot
from reid_audit.report.markdown import inert
from reid_audit.report.wire import GateRow, PublicReport

EXAMPLES = results.JUDGED
REPOSITORY = Path(__file__).resolve().parents[2]
NUMBERS = st.sampled_from([0.0, 0.0001, 0.001, 0.0099, 0.01, 0.0101, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0, 4.9999999, 5.0])


def flat(text: str) -> str:
    """Words alone: no tags, no breaks, no escapes."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).replace("\u00a0", " ").split())


def spoken(result: AuditResult) -> str:
    """What the terminal says."""
    stream = io.StringIO()
    show_result(Console(file=stream, width=400, soft_wrap=True), result)
    return flat(stream.getvalue())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_every_format_shows_the_same_words(example: Any) -> None:
    result = example()
    report = publish(result)
    page, sheet = flat(render(report, "html")), render(report, "markdown")
    messages = [r["message"]["text"] for r in json.loads(render(report, "sarif"))["runs"][0]["results"]]
    units = flat(" ".join(t.text or "" for t in ET.fromstring(render(report, "junit")).iter("system-out")))
    terminal, document = spoken(result), json.loads(render(report, "json"))
    assert len(document["findings"]) == len(report.findings)
    for finding, written in zip(report.findings, document["findings"], strict=True):
        said = wording.of_finding(finding, report)
        assert said.sentence
        assert said.status
        assert (REPOSITORY / said.link).is_file()
        assert said.whole in page
        assert said.label in page
        assert inert(said.whole) in sheet
        assert flat(said.line) in units
        assert finding.kind == "warning" or said.line in messages
        assert " ".join(filter(None, (written["sentence"], written["cause"]))) == said.body
        assert (written["label"], written["advice"], written["page"]) == (said.label, said.remedy, said.link)
        if finding.kind != "gap" or report.verdict.outcome is not Outcome.FAIL:
            assert flat(said.body) in terminal
            assert flat(said.remedy) in terminal
    assert plain.headline(report) in page
    assert inert(plain.headline(report)) in sheet
    assert flat(plain.headline(report)) in units
    assert flat(plain.headline(report)) in terminal


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_every_row_shows_the_same_words(example: Any) -> None:
    report = publish(example())
    page, sheet = flat(render(report, "html")), render(report, "markdown")
    cases = {c.get("name"): c for c in ET.fromstring(render(report, "junit")).iter("testcase")}
    rows = [(g.metric.value, wording.of_gate(g, report)) for g in report.gates]
    rows += [(c.name.value, wording.of_control(c)) for c in report.controls]
    for name, said in rows:
        texts = [e.get("message") or e.text or "" for e in cases[name]]
        assert any(said.line in text for text in texts), name
        assert said.status in page
        assert f"| {said.status} |" in sheet
        assert said.cause in page or said.status == "Met"
        assert inert(said.cause) in sheet or said.status == "Met"
        assert (REPOSITORY / said.link).is_file()


@pytest.mark.parametrize("format", ["html", "markdown", "junit"])
def test_a_control_that_is_not_measured_says_why(format: str) -> None:
    report = publish(results.screening())
    text = flat(re.sub(r'message="([^"]*)"', r">\1<", render(report, format))).replace("\\", "")
    missing = [row for row in report.controls if row.status == "unmeasured"]
    assert len(missing) >= 5
    for row in missing:
        cause = wording.of_control(row).cause
        assert cause
        assert cause in text


def test_one_share_is_said_in_one_way() -> None:
    """The share of recognised patients stands with the same value and interval in headline, gate and bracket."""
    rate = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.22, low=0.097, high=0.48, control=0.0, n=40)
    none = Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=0, n=16)
    result = results.failing()
    report = publish(results.again(result, measurements=replaced(result.measurements, (rate, none))))
    shown = "could recognise 22 % of the training patients at 1 % false alarms (interval 9.7 % to 48 %)"
    row = next(g for g in report.gates if g.metric is Metric.MEMBERSHIP_TPR)
    assert shown in plain.headline(report)
    assert shown in plain.share(report)
    assert shown in wording.of_gate(row, report).sentence
    assert "9.7 %; the policy fails above 5 %" in plain.headline(report)
    assert "re-identified 0 of 16 training patients" in plain.share(report)


def test_an_open_gate_beyond_its_fail_limit_says_what_it_waits_for() -> None:
    """p = 0.01 beside "fails at or below 0.01" is open only because no second metric agrees; that is said."""
    result = results.passing()
    edge = Measured(metric=Metric.LINKAGE_P, value=0.01, control=0.5, n=775)
    report = publish(results.again(result, measurements=replaced(result.measurements, (edge,))))
    row = next(g for g in report.gates if g.metric is Metric.LINKAGE_P)
    assert row.status == "open"
    said = wording.of_gate(row, report)
    assert "counts only with re-identified patients above 0" in said.cause
    assert said.cause in flat(render(report, "html"))


def test_a_gate_without_clearance_is_not_called_clear() -> None:
    result = results.passing()
    wide = Measured(metric=Metric.NEAREST_SSIM, value=0.51, low=0.419, high=0.6, control=0.488, n=31)
    report = publish(results.again(result, measurements=replaced(result.measurements, (wide,))))
    row = next(g for g in report.gates if g.metric is Metric.NEAREST_SSIM)
    assert (row.status, row.limit) == ("clear", "fail")
    said = wording.of_gate(row, report)
    assert said.status == "Not breached"
    assert "low end −0.069 over the control; the policy fails only above 0.050" in said.sentence


def test_a_floor_above_the_distances_is_said() -> None:
    result = results.passing()
    high = tuple(
        Measured(metric=metric, value=value, control=80.0, n=56)
        for metric, value in ((Metric.FID_PRIOR_REFERENCE, 66.0), (Metric.FID_TUNED_REFERENCE, 60.0))
    )
    report = publish(results.again(result, measurements=replaced(result.measurements, high)))
    shown = "All FIDs of this run are below it, so they say nothing about the move."
    assert shown in flat(render(report, "html"))
    assert shown in render(report, "markdown")
    assert shown not in render(publish(result), "markdown")


@st.composite
def gates(draw: st.DrawFn) -> tuple[Gate, Measurement]:
    metric = draw(st.sampled_from([m for m in METRICS if METRICS[m].control]) | st.just(Metric.LINKAGE_P))
    limits = {key: draw(st.none() | NUMBERS) for key in ("fail", "clear")}
    partner = (Corroboration(metric=Metric.REIDENTIFIED_PATIENTS, above=0),) if draw(st.booleans()) else ()
    rule = Gate(metric=metric, basis=draw(st.sampled_from(["value", "excess"])), corroborated_by=partner, **limits)
    if draw(st.integers(0, 9)) == 0:
        return rule, Unmeasured(metric=metric, reason=draw(st.sampled_from(list(Reason))))
    value, below, above = draw(NUMBERS), draw(st.none() | NUMBERS), draw(NUMBERS)
    low, high = (None, None) if below is None else (value - below, value + above)
    control, indicator = draw(st.none() | NUMBERS), draw(st.booleans())
    found = Measured(metric=metric, value=value, low=low, high=high, control=control, n=400, indicator=indicator)
    return rule, found


def judged(rule: Gate, found: Measurement) -> tuple[GateRow, PublicReport]:
    """The row that the judge makes of one gate and one measurement, as it is published."""
    always = Gate(metric=Metric.CONSENSUS if rule.metric is not Metric.CONSENSUS else Metric.LINKAGE_AUC, fail=1e9)
    result = results.passing()
    policy = Policy(gates=(rule, always))
    report = publish(results.again(result, policy=policy, measurements=replaced(result.measurements, (found,))))
    return next(g for g in report.gates if g.metric is rule.metric), report


@settings(max_examples=150, deadline=None)
@given(gates())
def test_status_sentence_and_picture_agree_on_any_row(case: tuple[Gate, Measurement]) -> None:
    row, report = judged(*case)
    said, plot = wording.of_gate(row, report), decision_plot(row, "k")
    if row.value is None:
        assert row.status in ("unmeasured", "off")
        assert row.status == "off" or said.cause
    if row.compared is None or wording.limit_of(row) is None:
        assert plot == ""
        return
    risky = row.beyond
    if row.status == "breach":
        assert risky
        assert row.limit == "fail"
    if row.status in ("open", "waived"):
        assert risky
    if row.status == "clear":
        assert not risky
    assert ("only" in wording.decision(row)) == (risky == (row.limit == "clear"))
    assert (said.status == "Clear") == (row.status == "clear" and row.limit == "clear")
    mark = float(re.search(r'<line x1="([\d.-]+)%"[^>]*class="decides', plot)[1])  # type: ignore[index]
    field = re.search(r'<rect x="([\d.-]+)%" y="[\d.]+" width="([\d.-]+)%"[^>]*class="beyond', plot)
    assert field is not None
    start, end = float(field[1]), float(field[1]) + float(field[2])
    assert (start < mark < end) == risky
    assert 0 <= mark <= 100


def test_a_number_that_is_not_published_is_not_said_to_be_shown() -> None:
    """Age and sex of fewer than 10 people: the row says so, and nothing of an assumption."""
    few = Measured(metric=Metric.SEX_ACCURACY_RECONSTRUCTION, value=1.0, control=0.5, n=9, indicator=True)
    result = results.passing()
    report = publish(results.again(result, measurements=replaced(result.measurements, (few,))))
    row = next(g for g in report.gates if g.metric is few.metric)
    said = wording.of_gate(row, report)
    assert (said.status, row.value) == ("Not measured", None)
    assert said.cause == "Fewer than 10 people: suppressed in the public report."


@pytest.mark.parametrize("example", [results.failing, results.passing, results.waived, results.several])
def test_what_is_found_is_a_sentence(example: Any) -> None:
    """No bare number leads a report: every gate of the default policy says what its number is about."""
    report = publish(example())
    for row in (g for g in report.gates if g.value is not None):
        assert wording.speaks(row), row.metric
        assert len(re.findall("[a-z]{3,}", wording.found(row, report))) >= 4
    for share in (0.0, 1.0, 31.0):
        row = next(g for g in report.gates if g.metric is Metric.LIKELY_SAMPLES).model_copy(update={"value": share})
        assert ("reconstruction that" in wording.found(row, report)) == (share == 1.0)


def test_every_control_has_a_page() -> None:
    report = publish(results.passing())
    assert {row.name for row in report.controls} == set(CONTROLS)
    assert all((REPOSITORY / wording.of_control(row).link).is_file() for row in report.controls)


@pytest.mark.parametrize("example", [results.failing, results.passing, results.demoted, results.screening])
def test_the_terminal_has_the_status_words_of_the_reports(example: Any) -> None:
    result = example()
    report, out = publish(result), io.StringIO()
    show_result(Console(file=out, width=200), result)
    rows = {line.split()[0]: line for line in out.getvalue().splitlines() if line.strip()}
    seen = 0
    for row in report.gates:
        line = rows.get(row.metric.value, "")
        if line:
            assert line.rstrip().endswith(wording.of_gate(row, report).status.lower()), line
            seen += 1
    assert seen >= 6
    sheet = render(report, "markdown")
    assert all(f"| {wording.of_gate(row, report).status} |" in sheet for row in report.gates)
