"""A budget that ends anywhere: what comes after it is left out and named, and nothing passes for want of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
from audits import small

from reid_audit.attack.interface import AttackTask
from reid_audit.audit import Audited, AuditRequest, Environment, Films, PriorFilms, evidence, run_audit, setup
from reid_audit.audit.allowance import Allowance
from reid_audit.audit.cohorts import Turns, both_cohorts
from reid_audit.demo.targets import SPEC, DemoCase, demo_case
from reid_audit.observer import Event, StageStarted
from reid_audit.policy import policy_sha256
from reid_audit.records import (
    Budget,
    Measured,
    Metric,
    Outcome,
    Policy,
    PreprocessPolicy,
    Reason,
    References,
    StoppedBy,
    Unmeasured,
    find,
)
from reid_audit.score.similarity import fit_match_space

SECONDS = 60.0
PATIENTS = 125


@dataclass
class Time:
    """A clock that moves ``tick`` seconds a look, and by ``jump`` when a stage begins."""

    tick: float = 0.0
    stage: str = ""
    jump: float = 0.0
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now

    def notice(self, event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == self.stage:
            self.now += self.jump


@pytest.fixture(scope="module")
def case() -> DemoCase:
    clean = demo_case("cnn")
    return clean._replace(
        reference=small(clean.reference, PATIENTS), holdout=small(clean.holdout, PATIENTS), prior=small(clean.prior, 60)
    )


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metric on a few images, and few permutations: it is their order that is tested."""
    monkeypatch.setattr(setup, "AttackTask", partial(AttackTask, samples=32))
    monkeypatch.setattr(evidence, "PERMUTATIONS", 99)


def audit(case: DemoCase, time: Time, **more: object) -> Audited:
    policy = Policy(
        budget=Budget(steps=3, particles=(4, 4), seconds=SECONDS),
        preprocess=PreprocessPolicy(declared=SPEC),
        references=References(when="off"),
        **more,  # type: ignore[arg-type]
    )
    films = Films(
        reference=lambda _: case.reference,
        holdout=lambda _: case.holdout,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
        counted=(len(case.reference.images), len(case.holdout.images)),
    )
    request = AuditRequest(checkpoint=case.checkpoint, policy=policy, policy_sha256=policy_sha256(policy))
    return run_audit(request, films, Environment(datetime(2026, 1, 1, tzinfo=UTC), time, observer=time))


def late(found: Audited) -> set[Metric]:
    return {m.metric for m in found.result.measurements if isinstance(m, Unmeasured) and m.reason is Reason.BUDGET}


def reduced(found: Audited) -> dict[str, tuple[int, int]]:
    return {one.stage: (one.done, one.of) for one in found.result.reduced}


def test_time_that_stands_still_leaves_nothing_out(case: DemoCase) -> None:
    found = audit(case, Time())
    assert late(found) == set()
    assert found.result.reduced == ()
    assert isinstance(find(found.result.measurements, Metric.ATTACK_POWER), Measured)


def test_membership_comes_before_what_is_worth_nothing_without_it(
    case: DemoCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what follows would need all the time that is left, as on a slow machine, it does not get it."""
    monkeypatch.setattr(Allowance, "rest", lambda self, passes: lambda films: films / 1000)
    monkeypatch.setattr(Allowance, "before", lambda self, others, films: self.keeping(SECONDS))
    found = audit(case, Time())
    assert MEMBERSHIP.isdisjoint(late(found))
    monkeypatch.setattr(Allowance, "first", lambda self, seconds: self)
    assert late(audit(case, Time())) >= MEMBERSHIP


MEMBERSHIP = {Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_MAX_P}
CONTROLS = {Metric.ATTACK_POWER, Metric.MEMBERSHIP_CONTROL}


@pytest.mark.parametrize(
    ("stage", "gone", "there"),
    [
        ("statistics of the prior", {Metric.LINKAGE_P, *MEMBERSHIP, *CONTROLS}, set()),
        ("negative control: prior samples", {Metric.LINKAGE_P, *MEMBERSHIP, *CONTROLS}, set()),
        ("exchangeability", {Metric.EXCHANGEABILITY_P, Metric.LINKAGE_P, *MEMBERSHIP, *CONTROLS}, set()),
        ("membership: films", {*MEMBERSHIP, *CONTROLS}, {Metric.EXCHANGEABILITY_P, Metric.LINKAGE_P}),
        ("membership: batches of 8", {*MEMBERSHIP, *CONTROLS}, {Metric.EXCHANGEABILITY_P}),
        ("distribution", {Metric.FID_PRIOR_TUNED, *CONTROLS}, MEMBERSHIP),
        ("planting canaries", CONTROLS, MEMBERSHIP),
    ],
)
def test_what_comes_after_the_end_is_left_out_and_nothing_passes(
    case: DemoCase, stage: str, gone: set[Metric], there: set[Metric]
) -> None:
    time = Time(stage=stage, jump=SECONDS)
    found = audit(case, time)
    assert gone <= late(found)
    assert there.isdisjoint(late(found))
    assert all(isinstance(find(found.result.measurements, metric), Measured) for metric in there)
    assert time.now == SECONDS
    verdict = found.result.verdict
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 4)
    assert any("budget" in gap.text and "--budget" in gap.remedy for gap in verdict.gaps)


def test_an_attack_that_time_cuts_off_is_no_pass(case: DemoCase) -> None:
    found = audit(case, Time(stage="attack power: moments", jump=SECONDS))
    assert found.result.attack_runs[-1].spend.stopped_by is StoppedBy.SECONDS
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("tick", [0.05, 0.3, 2.0])
def test_a_machine_as_slow_as_it_likes_stays_near_the_budget(case: DemoCase, tick: float) -> None:
    """However little fits: the end is not far away, what is missing is named, and the verdict is not PASS."""
    time = Time(tick=tick)
    found = audit(case, time)
    assert time.now <= 1.05 * SECONDS + 25 * tick
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.result.attack_runs[0].spend.stopped_by is StoppedBy.SECONDS
    assert reduced(found)["attack"] == (0, 3)
    assert reduced(found)["attack_power"] == (0, 1)
    assert Metric.LINKAGE_P in late(found)


def test_where_time_is_short_membership_is_asked_of_some_patients(
    case: DemoCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time enough for most of the films: those that had their turn are scored, and the report says how many."""
    monkeypatch.setattr(Allowance, "rest", lambda self, passes: lambda films: SECONDS if films > 400 else 0.0)
    found = audit(case, Time())
    done, of = reduced(found)["membership"]
    assert of == 2 * PATIENTS - 8
    assert 0.8 * of < done < of
    assert reduced(found)["batch_correction"] == (0, 1)
    rate = find(found.result.measurements, Metric.MEMBERSHIP_TPR)
    assert isinstance(rate, Measured)
    assert 50 < (rate.n or 0) < PATIENTS
    assert found.evidence is not None
    assert sum(p.membership is not None for p in found.evidence.patients) == done


def test_a_gate_that_could_only_fail_is_missed_where_time_was_over(case: DemoCase) -> None:
    """Without the comparison a network might have failed: no PASS, though no gate is unclear."""
    found = audit(case, Time(stage="likely samples", jump=SECONDS))
    assert {Metric.NEAREST_SSIM, Metric.NEAREST_NN} <= {gap.metric for gap in found.result.verdict.gaps}


def test_turns_take_whole_patients_of_both_sides_by_chance(case: DemoCase) -> None:
    space = fit_match_space(case.holdout.images[:40])
    owners = both_cohorts(case.reference, case.holdout, space).owners
    turns = Turns.of(owners, np.random.default_rng(0))
    assert sorted(turns.rows.tolist()) == list(range(owners.patients.size))
    patients, films = turns.complete(100)
    assert films <= 100
    reached = owners.patients[turns.rows[:films]]
    assert np.unique(reached).size == patients
    assert not set(reached) & set(owners.patients[turns.rows[films:]])
    members = np.unique(reached[owners.is_member[turns.rows[:films]]]).size
    assert members == pytest.approx(patients / 3, abs=1)
    assert turns.complete(owners.patients.size) == (2 * PATIENTS, owners.patients.size)
    assert turns.complete(0) == (0, 0)
    renamed = replace(owners, patients=np.char.add("x", owners.patients))
    assert turns.rows.tolist() == Turns.of(renamed, np.random.default_rng(0)).rows.tolist()
    assert turns.rows.tolist() != Turns.of(owners, np.random.default_rng(1)).rows.tolist()
