"""What changed between two reports: numbers that can be checked by hand, and pages that say the same."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import results
from click.testing import CliRunner

from reid_audit.cli import main
from reid_audit.records import AuditResult, Measured, Metric, Outcome, Policy, replaced
from reid_audit.report import dumps, publish
from reid_audit.report.compare import Comparison, Figure, compare, difference, metric_change
from reid_audit.report.compare_pages import headline, render_html, render_markdown, summary

GOLDEN = Path(__file__).parent / "golden"


def changed(result: AuditResult, *measured: Measured) -> AuditResult:
    """``result`` with other numbers, judged anew."""
    return results.again(result, measurements=replaced(result.measurements, measured))


def between(old: AuditResult, new: AuditResult) -> Comparison:
    return compare(publish(old), publish(new))


def test_the_interval_of_a_difference_is_newcombes() -> None:
    """Newcombe (1998), method 10, example (a): 56 of 70 against 48 of 80; 0.0524 to 0.3339."""

    def wilson(k: int, n: int) -> Figure:
        z, p = 1.959964, k / n
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return Figure(value=p, low=(middle - half) / (1 + z * z / n), high=(middle + half) / (1 + z * z / n))

    found = difference(wilson(48, 80), wilson(56, 70))
    assert found is not None
    assert found == pytest.approx((0.0524, 0.3339), abs=2e-4)


def test_changes_by_chance_alone_are_rarely_beyond_chance() -> None:
    """Two draws of one rate with exact-width normal intervals: beyond chance about 5 times in 100, never 10."""
    rng = np.random.default_rng(7)
    n, p, called = 200, 0.3, 0
    for _ in range(2000):
        first, second = rng.binomial(n, p, 2) / n
        ends = [
            Figure(value=v, low=v - 1.96 * math.sqrt(v * (1 - v) / n), high=v + 1.96 * math.sqrt(v * (1 - v) / n))
            for v in (first, second)
        ]
        low, high = difference(*ends) or (0.0, 0.0)
        called += not low <= 0 <= high
    assert 0.03 < called / 2000 < 0.08


def test_a_better_model() -> None:
    found = between(results.failing(), results.passing())
    assert (found.verdict, found.old.exit_code, found.new.exit_code) == ("better", 1, 0)
    assert found.breaches_gone == publish(results.failing()).verdict.breaches
    assert found.breaches_new == ()
    assert headline(found) == "Fail before, Pass now: better"
    rate = next(m for m in found.metrics if m.metric is Metric.MEMBERSHIP_TPR)
    assert (rate.significance, rate.riskier) == ("beyond_chance", False)
    assert {c.name for c in found.conditions} == {"training films"}
    back = between(results.passing(), results.failing())
    assert (back.verdict, back.breaches_new) == ("worse", found.breaches_gone)
    assert next(m for m in back.metrics if m.metric is Metric.MEMBERSHIP_TPR).riskier is True


def test_nothing_changed() -> None:
    found = between(results.passing(), results.passing())
    assert found.verdict == "same"
    assert (found.gates, found.controls, found.conditions, found.breaches_new) == ((), (), (), ())
    assert {m.significance for m in found.metrics} == {"unchanged"}
    assert "No figure of a leak moved beyond chance." in summary(found)


def test_what_no_interval_is_not_called_a_change() -> None:
    result = results.passing()
    small = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.02, low=0.006, high=0.05, control=0.01, n=388)
    p = Measured(metric=Metric.LINKAGE_P, value=0.06, control=0.51, n=775)
    found = {m.metric: m for m in between(result, changed(result, small, p)).metrics}
    assert found[Metric.MEMBERSHIP_TPR].significance == "within_chance"
    assert found[Metric.MEMBERSHIP_TPR].riskier is True
    assert found[Metric.LINKAGE_P].significance == "no_interval"
    assert found[Metric.LINKAGE_P].riskier is True, "a smaller p of a leak is riskier"
    doubted = metric_change(Metric.MEMBERSHIP_TPR, publish(result), publish(results.demoted()))
    assert doubted is not None
    assert doubted.significance == "does_not_count"


def test_figures_come_and_go() -> None:
    old, new = publish(results.screening()), publish(results.passing())
    assert metric_change(Metric.MEMBERSHIP_TPR, old, new).significance == "appeared"  # type: ignore[union-attr]
    assert metric_change(Metric.MEMBERSHIP_TPR, new, old).significance == "gone"  # type: ignore[union-attr]
    assert metric_change(Metric.SCORER_SENSITIVITY, old, old) is None
    found = compare(old, new)
    assert any(c.old == "unmeasured" and c.new == "met" for c in found.controls)
    assert any(g.new == "clear" and g.old == "unmeasured" for g in found.gates)


def test_a_policy_without_a_gate_and_an_audit_without_verdict() -> None:
    result = results.passing()
    fewer = results.again(result, policy=Policy(gates=result.policy.gates[:2]))
    assert all(g.new is None for g in between(result, fewer).gates)
    assert between(result, results.not_audited()).verdict == "not_comparable"
    assert between(results.demoted(), result).verdict == "better"


@pytest.mark.parametrize("new", [results.passing, results.demoted, results.not_audited, results.waived])
def test_every_page_says_what_the_record_says(new: object) -> None:
    found = between(results.failing(), new())  # type: ignore[operator]
    sheet, page, record = render_markdown(found), render_html(found), json.loads(dumps(found))
    assert Comparison.model_validate(record) == found
    plain = re.sub(r"\\(.)", r"\1", sheet)
    for text in (headline(found), summary(found)):
        assert text in plain
        assert text in page.replace("\u00a0", " ").replace("&#39;", "'").replace("&lt;", "<")
    for change in found.metrics:
        assert f"<code>{change.metric}</code>" in page.replace("<wbr>", "")
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_the_command(tmp_path: Path) -> None:
    old, new = str(GOLDEN / "failing.json"), str(GOLDEN / "passing.json")
    runner = CliRunner()
    printed = runner.invoke(main, ["compare", old, new], standalone_mode=False)
    assert printed.return_value == 0
    assert printed.stdout.startswith("## ✅ Fail before, Pass now: better")
    written = runner.invoke(main, ["compare", old, new, "--out", str(tmp_path)], standalone_mode=False)
    assert written.return_value == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["compare.html", "compare.json", "compare.md"]
    assert json.loads((tmp_path / "compare.json").read_text())["new"]["outcome"] == Outcome.PASS.value
    both = runner.invoke(main, ["compare", old, new, "--format", "html", "--format", "json"])
    assert both.exit_code == 2
    missing = runner.invoke(main, ["compare", old, str(tmp_path / "none")])
    assert "holds no finished run" in str(missing.exception)
