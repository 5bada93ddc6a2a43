"""Waivers answer for one number of one checkpoint until a day, and stay visible."""

from __future__ import annotations

from datetime import date

from clean_evidence import CLEAN, DIGEST, TODAY, changed, judged, measured

from reid_audit.records import Metric, Outcome, Waiver

EXPOSED = changed(measured(Metric.MEMBERSHIP_TPR, 0.3, 0.2, 0.5))


def _waiver(gate: Metric = Metric.MEMBERSHIP_TPR, digest: str = DIGEST, expires: date = date(2026, 4, 1)) -> Waiver:
    return Waiver(
        gate=gate,
        checkpoint_sha256=digest,
        reason="research use inside the hospital",
        approved_by="DPO",
        expires=expires,
    )


def test_a_waived_breach_passes_and_stays_visible() -> None:
    verdict = judged(EXPOSED, waivers=(_waiver(),))
    assert verdict.outcome is Outcome.PASS
    assert [b.metric for b in verdict.waived] == [Metric.MEMBERSHIP_TPR]
    assert "DPO" in verdict.waived[0].text
    assert "1 waived" in verdict.reason


def test_a_waiver_holds_through_its_last_day_and_then_fails() -> None:
    assert judged(EXPOSED, waivers=(_waiver(expires=TODAY),)).outcome is Outcome.PASS
    verdict = judged(EXPOSED, waivers=(_waiver(expires=date(2026, 2, 28)),))
    assert verdict.outcome is Outcome.FAIL
    assert "expired" in verdict.breaches[0].text


def test_a_waiver_for_another_checkpoint_is_no_waiver() -> None:
    verdict = judged(EXPOSED, waivers=(_waiver(digest="b" * 64),))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.warnings == ("waiver for membership_tpr_at_1pct_fpr belongs to another checkpoint",)


def test_an_unused_waiver_warns() -> None:
    verdict = judged(waivers=(_waiver(),))
    assert verdict.outcome is Outcome.PASS
    assert "not needed" in verdict.warnings[0]


def test_a_waiver_does_not_replace_missing_evidence() -> None:
    rest = tuple(m for m in CLEAN if m.metric is not Metric.MEMBERSHIP_TPR)
    assert judged(rest, waivers=(_waiver(),)).outcome is Outcome.INCONCLUSIVE


def test_a_waiver_answers_for_a_number_and_not_for_a_core_number_that_does_not_count() -> None:
    waiver = _waiver(Metric.LINKAGE_P)
    between = measured(Metric.LINKAGE_P, 0.03)
    assert judged(changed(between), waivers=(waiver,)).outcome is Outcome.PASS
    verdict = judged(changed(between), waivers=(waiver,), prior_overlap="overlap")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert next(row for row in verdict.gates if row.metric is Metric.LINKAGE_P).lacking
