"""How time is divided: what the verdict rests on keeps its place, and a step's cost is told from what is fixed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small import convnet, task_of

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.methods import METHODS
from reid_audit.audit.pacing import (
    CORE,
    COSTS,
    ENOUGH,
    FEWEST_STEPS,
    AttackCost,
    Division,
    Speed,
    Work,
    attack_cost,
    control_seconds,
    divide,
    sampled,
    scoring_seconds,
    speed_of,
)
from reid_audit.audit.preprocessing import Chosen
from reid_audit.audit.setup import UNFINISHED, control_to_search, kept_for_control
from reid_audit.budget import Meter
from reid_audit.observer import Observer, StageEnded, StageStarted
from reid_audit.records import PreprocessFit, PreprocessSpec, Spend, StoppedBy

SETUP, TUNING, STEP = 40.0, 60.0, 2.0
"""Seconds of an attack before its stages, in a stage of 150 steps that no budget shortens, and a step of its loop."""
WORK = Work(films=1200, others=600, canaries=8, attacks=1, steps=500, controlled=True)
SPEED = Speed(image=0.02, cubic=CORE)
COST = AttackCost(1.0, 0.5)


def fit_that_is(*, complete: bool) -> PreprocessFit:
    """What a search found that ended, or was cut off."""
    return PreprocessFit(best=PreprocessSpec(side=64), by="statistics", films=32, complete=complete)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a stand-in for `moments` moves."""
    time = [0.0]

    def attack(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> object:
        time[0] += SETUP
        for stage, steps, seconds in (("tuning", 150, TUNING), ("loop", task.budget.steps, STEP * task.budget.steps)):
            observer.notice(StageStarted(stage, steps))
            time[0] += seconds
            observer.notice(StageEnded(stage))
        return SimpleNamespace(spend=meter.spend(meter.exhausted() or StoppedBy.COMPLETE))

    monkeypatch.setitem(METHODS, "moments", attack)
    return time


@pytest.mark.parametrize(
    ("fit", "times"),
    [(fit_that_is(complete=True), 1.0), (fit_that_is(complete=False), UNFINISHED), (None, UNFINISHED)],
)
def test_a_search_that_was_cut_off_leaves_its_control_the_time_that_it_lacked(
    fit: PreprocessFit | None, times: float
) -> None:
    chosen = Chosen(PreprocessSpec(side=64), "default" if fit is None else "statistics", fit)
    whole = control_to_search(64) * 100.0
    assert kept_for_control(chosen, 64, 100.0) == times * whole


def test_fixed_costs_are_paid_once_and_not_by_every_step(now: list[float]) -> None:
    cost = attack_cost(task_of(convnet(), steps=500), "moments", Meter(1e4, None, clock=lambda: now[0]), 0)
    assert cost == AttackCost(fixed=SETUP + TUNING, step=STEP)
    assert cost.seconds(100) == SETUP + TUNING + 100 * STEP


def test_an_attack_whose_trial_takes_too_long_is_not_afforded(now: list[float]) -> None:
    assert attack_cost(task_of(convnet()), "moments", Meter(300.0, None, clock=lambda: now[0]), 0) is None


@pytest.mark.parametrize(
    ("left", "each", "samples"),
    [(1000.0, 0.01, 2048), (150.0, 0.01, 1024), (1000.0, 0.1, 512), (210.0, 0.1, 512), (190.0, 0.1, None)],
)
def test_a_short_budget_gives_the_metric_fewer_images(left: float, each: float, samples: int | None) -> None:
    found = sampled(task_of(convnet()), Meter(left, None, clock=lambda: 0.0), Speed(each, 0.0))
    assert (None if found is None else found.samples) == samples


def test_without_a_ceiling_or_statistics_nothing_is_made_smaller() -> None:
    task = task_of(convnet(normalised=False))
    assert sampled(task, Meter(1e-9, None), Speed(1.0, 1.0)) is task
    task = task_of(convnet())
    assert sampled(task, Meter(None, None), None) is task


def divided(left: float, *, cost: AttackCost | None = COST, work: Work = WORK) -> Division:
    return divide(task_of(convnet()), work, left, SPEED, cost)


def test_with_time_for_everything_every_step_is_made() -> None:
    found = divided(1e4)
    assert (found.steps, found.controlled) == (500, True)
    assert found.kept > found.control > 500 * 0.5


def test_scoring_and_controls_keep_their_time_before_steps_are_made() -> None:
    before = divided(1e4)
    for left in (700.0, 400.0, 250.0):
        found = divided(left)
        assert FEWEST_STEPS <= found.steps < before.steps
        assert found.controlled
        assert found.kept + found.steps * 0.5 < left
        before = found


def test_the_control_goes_before_the_attack_and_the_attack_before_scoring() -> None:
    kinds = [(found.steps > 0, found.controlled) for found in map(divided, (400.0, 120.0, 60.0, 5.0))]
    assert kinds == [(True, True), (True, False), (False, False), (False, False)]
    assert divided(1e4, cost=None) == Division(0, scoring_seconds(task_of(convnet()), WORK, SPEED, 2, WORK.films))


def test_no_control_is_planned_that_the_policy_does_not_ask_for() -> None:
    work = Work(films=1200, others=600, canaries=8, attacks=1, steps=500, controlled=False)
    found = divided(400.0, work=work)
    assert not found.controlled
    assert found.steps > divided(400.0).steps


def test_the_passes_of_an_encoder_are_kept_for_scoring() -> None:
    with_encoder = replace(WORK, encoding=50.0)
    assert divided(1e4, work=with_encoder).kept == pytest.approx(divided(1e4).kept + 50.0)


def test_canaries_of_a_network_without_statistics_take_longer_beside_references() -> None:
    task, taught = task_of(convnet(normalised=False)), replace(WORK, taught=True)
    without, beside = (control_seconds(task, work, SPEED, 2) for work in (WORK, taught))
    assert beside > 10 * without
    assert control_seconds(task_of(convnet()), taught, SPEED, 2) == control_seconds(task_of(convnet()), WORK, SPEED, 2)


def test_many_films_are_asked_about_in_part_before_the_control_is_left_out() -> None:
    many = Work(films=5000, others=2500, canaries=8, attacks=1, steps=500, controlled=True)
    asked = scoring_seconds(task_of(convnet()), many, SPEED, 1, ENOUGH)
    found = divided(asked + 200.0, work=many)
    assert found.controlled
    assert found.kept - found.control == pytest.approx(asked)


def test_a_machine_is_tried_and_a_stall_is_not_its_speed() -> None:
    time = [0.0]

    def clock() -> float:
        time[0] += 1.0
        return time[0]

    speed = speed_of(task_of(convnet()), Meter(100.0, None, clock=clock))
    assert speed.image == pytest.approx(1.0 / 64)
    assert speed.core == 8.0
    constant, linear, square = COSTS["linkage"]
    assert speed.comparison("linkage", 1000) == pytest.approx(8.0 * (constant + 1000 * linear + 1e6 * square))
    few, many = replace(speed, stored=0), replace(speed, stored=100_000)
    assert few.comparison("membership", 1000) < many.comparison("membership", 1000)
    assert few.comparison("linkage", 1000) == many.comparison("linkage", 1000)
    assert Spend(seconds=time[0], steps=0, stopped_by=StoppedBy.COMPLETE).seconds < 20
