"""What an encoder says can fail a network or keep it from a PASS, and never buys one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import results

from reid_audit.judge.again import judge_again
from reid_audit.records import AuditResult, EncoderPolicy, Measured, Measurement, Metric, Outcome, Reason, Unmeasured
from reid_audit.score.encoder import ENCODER

ORDER = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
SAID: list[list[Measurement]] = [
    [Measured(metric=ENCODER[0], value=p, n=30), Measured(metric=ENCODER[1], value=count, control=0, n=30)]
    for p in (0.0002, 0.03, 1.0)
    for count in (0, 4)
]


@pytest.mark.parametrize("example", [results.failing, results.passing, results.demoted, results.waived])
def test_nothing_that_an_encoder_says_makes_a_verdict_better(example: Callable[[], AuditResult]) -> None:
    plain = example()
    without = ORDER.index(plain.verdict.outcome)
    late: list[Measurement] = [Unmeasured(metric=metric, reason=Reason.BUDGET) for metric in ENCODER]
    for said in (*SAID, late):
        kept = tuple(m for m in plain.measurements if m.metric not in ENCODER)
        judged = results.again(plain, measurements=(*kept, *said))
        assert ORDER.index(judged.verdict.outcome) <= without


def test_an_encoder_alone_can_fail_a_network_and_an_encoder_without_time_lets_none_pass() -> None:
    plain = results.passing()
    assert plain.verdict.outcome is Outcome.PASS
    found = results.again(plain, measurements=(*plain.measurements, *SAID[1]))
    assert found.verdict.outcome is Outcome.FAIL
    assert [b.metric for b in found.verdict.breaches] == [Metric.ENCODER_LINKAGE_P]
    late = (Unmeasured(metric=ENCODER[0], reason=Reason.BUDGET),)
    assert results.again(plain, measurements=(*plain.measurements, *late)).verdict.outcome is Outcome.INCONCLUSIVE
    none = (Unmeasured(metric=ENCODER[0], reason=Reason.NO_ENCODER),)
    passed = results.again(plain, measurements=(*plain.measurements, *none))
    assert passed.verdict.outcome is Outcome.PASS
    named = plain.policy.model_copy(update={"encoder": EncoderPolicy(checkpoint=Path("reid.pt"))})
    assert judge_again(passed, named, today=passed.started.date()).outcome is Outcome.INCONCLUSIVE
