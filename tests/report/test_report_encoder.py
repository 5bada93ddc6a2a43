"""What an encoder says can fail a network or keep it from a PASS, and never buys one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import results

from reid_audit.judge.again import judge_again
from reid_audit.records import AuditResult, EncoderPolicy, Measured, Measurement, Metric, Outcome, Reason, Unmeasured
from reid_audit.score.encoder import ENCODER


def without(result: AuditResult) -> tuple[Measurement, ...]:
    """What was measured without an encoder."""
    return tuple(m for m in result.measurements if m.metric not in ENCODER)


ORDER = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
SAID: list[list[Measurement]] = [
    [Measured(metric=ENCODER[0], value=p, n=30), Measured(metric=ENCODER[1], value=count, control=0, n=30)]
    for p in (0.0002, 0.03, 1.0)
    for count in (0, 4)
]


@pytest.mark.parametrize("example", [results.failing, results.passing, results.demoted, results.waived])
def test_nothing_that_an_encoder_says_makes_a_verdict_better(example: Callable[[], AuditResult]) -> None:
    plain = example()
    least = ORDER.index(plain.verdict.outcome)
    late: list[Measurement] = [Unmeasured(metric=metric, reason=Reason.BUDGET) for metric in ENCODER]
    for said in (*SAID, late):
        judged = results.again(plain, measurements=(*without(plain), *said))
        assert ORDER.index(judged.verdict.outcome) <= least


def test_an_encoder_alone_can_fail_a_network_and_an_encoder_without_time_lets_none_pass() -> None:
    plain = results.passing()
    assert plain.verdict.outcome is Outcome.PASS
    found = results.again(plain, measurements=(*without(plain), *SAID[1]))
    assert found.verdict.outcome is Outcome.FAIL
    assert [b.metric for b in found.verdict.breaches] == [Metric.ENCODER_LINKAGE_P]
    late = (Unmeasured(metric=ENCODER[0], reason=Reason.BUDGET),)
    assert results.again(plain, measurements=(*without(plain), *late)).verdict.outcome is Outcome.INCONCLUSIVE
    none = (Unmeasured(metric=ENCODER[0], reason=Reason.NO_ENCODER),)
    passed = results.again(plain, measurements=(*without(plain), *none))
    assert passed.verdict.outcome is Outcome.PASS
    named = plain.policy.model_copy(update={"encoder": EncoderPolicy(checkpoint=Path("reid.pt"))})
    assert judge_again(passed, named, today=passed.started.date()).outcome is Outcome.INCONCLUSIVE
