"""What an encoder says can fail a network or keep it from a PASS, and never buys one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import results

from reid_audit.judge.again import judge_again
from reid_audit.records import (
    AuditResult,
    EncoderCard,
    EncoderPolicy,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Reason,
    Unmeasured,
    Verdict,
)
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
    verdict = under(passed, EncoderPolicy(checkpoint=Path("reid.pt")))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "the run had none" in verdict.gaps[-1].text


CARD = EncoderCard(sha256="a" * 64, architecture="resnet18", side=224, channels=1, dimensions=64)
RAN = EncoderPolicy(checkpoint=Path("reid.pt"), values="imagenet")


def compared(example: AuditResult, card: EncoderCard | None = CARD) -> AuditResult:
    """A run whose films the encoder of ``RAN`` compared, which found nobody."""
    seen = results.again(example, measurements=(*without(example), *SAID[4]))
    ran = seen.policy.model_copy(update={"encoder": RAN})
    return seen.model_copy(update={"encoder": card, "policy": ran})


def under(result: AuditResult, asked: EncoderPolicy, sha256: str | None = None) -> Verdict:
    policy = result.policy.model_copy(update={"encoder": asked})
    return judge_again(result, policy, today=result.started.date(), encoder_sha256=sha256)


@pytest.mark.parametrize(
    ("changes", "sha256"),
    [
        ({}, None),
        ({}, "a" * 64),
        ({"side": 224}, "a" * 64),
        ({"checkpoint": Path("moved/reid.pt")}, "a" * 64),
        ({"checkpoint": None}, None),
    ],
)
def test_the_encoder_of_the_run_is_known_again(changes: dict[str, object], sha256: str | None) -> None:
    verdict = under(compared(results.passing()), RAN.model_copy(update=changes), sha256)
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("changes", "sha256", "said"),
    [
        ({"checkpoint": Path("other.pt")}, "b" * 64, "names another"),
        ({}, "b" * 64, "names another"),
        ({"checkpoint": Path("other.pt")}, None, "not here to be compared"),
        ({"side": 320}, "a" * 64, "in another way"),
        ({"values": "unit"}, "a" * 64, "in another way"),
    ],
)
def test_a_policy_that_names_another_encoder_passes_nothing(
    changes: dict[str, object], sha256: str | None, said: str
) -> None:
    asked = RAN.model_copy(update=changes)
    verdict = under(compared(results.passing()), asked, sha256)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [said in gap.text for gap in verdict.gaps] == [True]
    assert "reid-audit check" in verdict.gaps[0].remedy
    assert under(compared(results.failing()), asked, sha256).outcome is Outcome.FAIL


def test_a_run_that_does_not_say_which_encoder_it_had_passes_no_other_policy() -> None:
    run = compared(results.passing(), card=None)
    assert under(run, RAN).outcome is Outcome.PASS
    assert under(run, RAN.model_copy(update={"side": 224})).outcome is Outcome.INCONCLUSIVE
