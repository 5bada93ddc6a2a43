"""A copy is never called safe because the audit was blinded."""

from __future__ import annotations

from datetime import date

import pytest
import results

from reid_audit.judge import held, judge_again
from reid_audit.records import (
    AppliedMitigation,
    AuditResult,
    Measured,
    Metric,
    MitigationEffect,
    Outcome,
    Reason,
    Unmeasured,
    replaced,
)


def applied(effect: MitigationEffect) -> AppliedMitigation:
    return AppliedMitigation(
        name="some", idea="An idea.", source="A source", done="done", remains=("All.",), effect=effect
    )


def storing(found: AuditResult, count: int) -> AuditResult:
    return found.model_copy(update={"architecture": found.architecture.model_copy(update={"data_statistics": count})})


def with_fit(found: AuditResult, value: float | None) -> AuditResult:
    metric = Metric.PREPROCESS_FIT
    measured = (
        Unmeasured(metric=metric, reason=Reason.PREPROCESS_UNEXPLAINED)
        if value is None
        else Measured(metric=metric, value=value)
    )
    return results.again(found, measurements=replaced(found.measurements, (measured,)))


@pytest.mark.parametrize("effect", ["hides", "blunts"])
def test_what_only_blinds_the_audit_cannot_turn_a_failure_into_a_pass(effect: MitigationEffect) -> None:
    passing = results.passing()
    assert passing.verdict.outcome is Outcome.PASS
    found = held(results.failing(), passing, [applied(effect)])
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.verdict.exit_code == 4
    assert any("did not pass" in gap.text for gap in found.verdict.gaps)
    assert held(passing, passing, [applied(effect)]).verdict.outcome is Outcome.PASS


def test_replaced_statistics_pass_only_where_none_are_read_and_the_original_confirmed_the_preprocessing() -> None:
    before, after = storing(with_fit(results.failing(), 0.1), 9600), storing(results.passing(), 0)
    assert held(before, after, [applied("replaces")]).verdict.outcome is Outcome.PASS
    read = held(before, storing(after, 9600), [applied("replaces")])
    assert read.verdict.outcome is Outcome.INCONCLUSIVE
    assert "as if they were the training's" in read.verdict.gaps[-1].text
    for fit in (5.0, None):
        unsure = held(storing(with_fit(results.failing(), fit), 9600), after, [applied("replaces")])
        assert unsure.verdict.outcome is Outcome.INCONCLUSIVE
        assert "preprocessing" in unsure.verdict.gaps[-1].text


def test_a_network_without_statistics_has_none_to_replace() -> None:
    before = storing(with_fit(results.failing(), None), 0)
    assert held(before, storing(results.passing(), 0), [applied("replaces")]).verdict.outcome is Outcome.PASS


def test_a_failure_stays_one_and_trimming_withholds_nothing() -> None:
    assert held(results.failing(), results.failing(), [applied("hides")]).verdict == results.failing().verdict
    assert held(results.failing(), results.passing(), [applied("trims")]).verdict.outcome is Outcome.PASS


def test_judged_again_the_copy_still_does_not_pass() -> None:
    found = held(results.failing(), results.passing(), [applied("hides")])
    again = judge_again(found, found.policy, today=date(2026, 1, 1))
    assert again.outcome is Outcome.INCONCLUSIVE
    kept = AuditResult.model_validate_json(found.model_dump_json())
    assert judge_again(kept, kept.policy, today=date(2026, 1, 1)).outcome is Outcome.INCONCLUSIVE
