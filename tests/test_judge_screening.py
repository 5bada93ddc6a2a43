"""A screening of weights alone: what it may say, and that it is no audit."""

from __future__ import annotations

from typing import Any

from clean_evidence import judged, measured

from reid_audit.records import Gate, Metric, Outcome, Policy

SCREEN = (
    measured(Metric.LIKELY_SAMPLES, 12, control=0.5, indicator=True),
    measured(Metric.CONSENSUS, 0.3, control=0.29, indicator=True),
)


def test_checkpoint_only_is_inconclusive_unless_the_policy_accepts_a_screening() -> None:
    films: dict[str, Any] = {"has_reference": False, "has_holdout": False}
    assert judged(SCREEN, **films).outcome is Outcome.INCONCLUSIVE
    policy = Policy(evidence="checkpoint", gates=(Gate(metric=Metric.CONSENSUS, fail=0.2, basis="excess"),))
    verdict = judged(SCREEN, policy, **films)
    assert verdict.outcome is Outcome.PASS
    assert verdict.screening
    assert "Screening" in verdict.reason
    loud = (SCREEN[0], measured(Metric.CONSENSUS, 0.9, control=0.29, indicator=True))
    assert judged(loud, policy, **films).outcome is Outcome.INCONCLUSIVE
    assert judged((), policy, **films).outcome is Outcome.INCONCLUSIVE
    assert judged(SCREEN, policy, budget_complete=False, **films).outcome is Outcome.INCONCLUSIVE


def test_a_screening_in_which_restarts_agree_is_no_pass() -> None:
    films: dict[str, Any] = {"has_reference": False, "has_holdout": False}
    for low, outcome in ((0.2, Outcome.PASS), (0.4, Outcome.INCONCLUSIVE)):
        consensus = measured(Metric.CONSENSUS, 0.5, control=0.29, indicator=True).model_copy(
            update={"low": low, "high": 0.6}
        )
        quiet = measured(Metric.LIKELY_SAMPLES, 0, control=0.5, indicator=True)
        verdict = judged((quiet, consensus), Policy(evidence="checkpoint"), **films)
        assert verdict.outcome is outcome
        assert any("restarts agree" in gap.text for gap in verdict.gaps) == (outcome is Outcome.INCONCLUSIVE)


def test_a_screening_policy_with_films_is_judged_in_full() -> None:
    policy = Policy(evidence="checkpoint")
    verdict = judged(SCREEN, policy)
    assert not verdict.screening
    assert verdict.outcome is Outcome.INCONCLUSIVE
