"""The data-protection edition: its answers are the verdict's, it says what was declared, and it prints."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import chromium
import pytest
import results
from click.testing import CliRunner
from conftest import missing
from demo_pages import declared
from pdf_text import pages_of

from reid_audit.cli import exit_code, main
from reid_audit.errors import RunStateError
from reid_audit.policy import parse_policy
from reid_audit.records import Measured, Metric, Outcome, ReportFields, replaced
from reid_audit.report import plain, publish, render, wording
from reid_audit.report.pdf import to_pdf
from reid_audit.report.protection import ANSWER, answers, residual, scope
from reid_audit.report.protection_words import FILL, QUESTIONS

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = results.JUDGED


def words_of(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


@pytest.mark.parametrize("example", [*EXAMPLES, results.not_audited], ids=lambda e: e.__name__)
def test_the_answers_are_the_verdicts(example: Any) -> None:
    report = publish(example())
    found = answers(report)
    assert [one.question.title for one in found] == ["Singling out", "Linkability", "Inference"]
    kinds = [one.kind for one in found]
    assert ("breach" in kinds) == bool(report.verdict.breaches)
    if report.verdict.outcome is Outcome.PASS:
        assert set(kinds) <= {"nothing", "waived"}
    if report.verdict.outcome is Outcome.NOT_AUDITED:
        assert set(kinds) == {"unasked"}
    page = words_of(render(report, "data-protection"))
    for one in found:
        assert one.sentence in page
        assert ANSWER[one.kind] in page
        row = next((g for g in report.gates if g.metric.value == one.metric), None)
        if row is not None:
            assert one.sentence == f"{one.label}: {wording.of_gate(row, report).body}"
            assert (one.plot != "") == bool(wording.decision(row))
    assert plain.headline(report) in page


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_no_answer_rests_on_a_figure_that_decides_nothing(example: Any) -> None:
    report = publish(example())
    rows = {row.metric.value: row for row in report.gates}
    for one in answers(report):
        if one.kind == "nothing":
            assert rows[one.metric].status == "clear"
        for text in one.others:
            assert "Not measured. Not measured" not in text
    if report.verdict.screening:
        assert {one.kind for one in answers(report)} <= {"lacking", "unasked"}


def test_every_gate_of_a_default_policy_belongs_to_one_question() -> None:
    gates = [row.metric for row in publish(results.passing()).gates]
    owners = {metric: [q.key for q in QUESTIONS if metric in q.gates] for metric in gates}
    assert [metric for metric, keys in owners.items() if len(keys) != 1] == []


def test_what_is_declared_is_shown_and_what_is_not_says_so() -> None:
    shown = words_of(render(publish(declared(results.failing())), "data-protection"))
    for text in ("Chest triage 2", "triage-2.safetensors", "Chest films 2024", "A. Muster", "Head of radiology"):
        assert text in shown
    assert publish(results.failing()).checkpoint.sha256 in shown
    bare = words_of(render(publish(results.failing()), "data-protection"))
    assert "name not declared" in bare
    assert FILL in bare
    assert "Data protection officer" in bare


def test_the_policy_declares_it() -> None:
    policy = parse_policy({"report": {"model": "A", "training_data": "B", "sign_off": ["C", "D"]}})
    assert policy.report == ReportFields(model="A", training_data="B", sign_off=("C", "D"))
    hostile = publish(
        results.passing().model_copy(
            update={"policy": policy.model_copy(update={"report": ReportFields(model="/data/ward7/x.png <script>")})}
        )
    )
    page = render(hostile, "data-protection")
    assert "ward7" not in page
    assert "<script" not in page


def test_films_are_counted_with_and_without_a_declared_name() -> None:
    bare = publish(results.passing())
    assert any(line.endswith("patients were used.") for line in scope(bare))
    named = bare.model_copy(update={"declared": bare.declared.model_copy(update={"training_data": "NIH"})})
    assert any(line.endswith("of the data set NIH, as declared, were used.") for line in scope(named))


def test_the_residual_risk_is_the_upper_end() -> None:
    rate = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.01, low=0.0, high=0.05, control=0.01, n=388)
    result = results.passing()
    said = residual(publish(results.again(result, measurements=replaced(result.measurements, (rate,)))))
    assert "may be as high as 5 %, that is up to 19 of 388." in said[0]
    assert "not bounded" in residual(publish(results.screening()))[0]


def test_prints_a_pdf(tmp_path: Path) -> None:
    if chromium.find() is None:
        missing("chromium")
    done = CliRunner().invoke(
        main, ["render", str(GOLDEN / "failing.json"), "--format", "pdf", "--out", str(tmp_path)], standalone_mode=False
    )
    assert done.return_value == 0, done.exception
    assert [path.name for path in tmp_path.iterdir()] == ["data-protection.pdf"]
    written = (tmp_path / "data-protection.pdf").read_bytes()
    assert written.startswith(b"%PDF-")
    pages = pages_of(written)
    assert len(pages) >= 3
    for number, text in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in text, "page numbers need Chromium 131"
        assert len(text.split()) > 60, f"page {number} is nearly empty"
    for caption, row in (
        ("Controls: what has to work", "The attack can find patients"),
        ("Signed for this file", "Role"),
    ):
        (holding,) = [text for text in pages if caption in text]
        assert row in holding.partition(caption)[2], "a table stays with its caption"


def test_refuses_in_three_lines_where_nothing_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("REID_AUDIT_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exit_code(["render", str(GOLDEN / "passing.json"), "--format", "pdf", "--out", str(tmp_path)]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 3
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("REID_AUDIT_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(RunStateError, match="did not print"):
        to_pdf("<p>")
