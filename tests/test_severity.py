"""Which of several verdicts decides, and with which exit code."""

from __future__ import annotations

import itertools

import pytest

from reid_audit.cli.check import process_code
from reid_audit.records import EXIT_CODES, Outcome
from reid_audit.severity import CODES, FORGIVEN, WORST_FIRST, code_of, worst

VERDICTS = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)


def test_every_outcome_has_its_place() -> None:
    assert {Outcome(name) for name in WORST_FIRST} == set(Outcome)


@pytest.mark.parametrize("fail_on", FORGIVEN)
def test_one_alone_has_the_code_of_check(fail_on: str) -> None:
    for outcome in VERDICTS:
        assert code_of([outcome], fail_on) == process_code(outcome, EXIT_CODES[outcome], fail_on)  # type: ignore[arg-type]


@pytest.mark.parametrize("fail_on", FORGIVEN)
def test_what_has_no_verdict_is_never_a_pass_whatever_is_beside_it(fail_on: str) -> None:
    for bad, *others in itertools.product(("not_audited", "refused", "nonsense"), Outcome, Outcome):
        assert code_of([*others, bad], fail_on) == 3
    assert code_of([], fail_on) == 3


def test_a_fail_comes_before_missing_evidence_and_that_before_a_pass() -> None:
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]) == "fail"
    assert code_of([Outcome.PASS, Outcome.INCONCLUSIVE], "inconclusive") == 4
    assert code_of([Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL], "fail") == 1
    assert code_of([Outcome.PASS, Outcome.PASS], "inconclusive") == 0
    assert list(CODES) == list(WORST_FIRST)
