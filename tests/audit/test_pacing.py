"""How many steps and images a time budget allows: what grows with the steps is told from what does not."""

from __future__ import annotations

import pytest
import torch
from small import convnet, task_of

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.methods import METHODS
from reid_audit.audit import pacing
from reid_audit.audit.pacing import paced, sampled
from reid_audit.budget import Meter
from reid_audit.observer import Observer, StageEnded, StageStarted

SETUP, TUNING, STEP = 40.0, 60.0, 2.0
"""Seconds of an attack before its stages, in a stage of 150 steps that no budget shortens, and a step of its loop."""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a stand-in for `moments` moves."""
    time = [0.0]

    def attack(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> None:
        time[0] += SETUP
        for stage, steps, seconds in (("tuning", 150, TUNING), ("loop", task.budget.steps, STEP * task.budget.steps)):
            observer.notice(StageStarted(stage, steps))
            time[0] += seconds
            observer.notice(StageEnded(stage))

    monkeypatch.setitem(METHODS, "moments", attack)
    return time


@pytest.mark.parametrize(("seconds", "share", "steps"), [(1000.0, 1.0, 366), (1000.0, 0.5, 171), (1e5, 1.0, 500)])
def test_fixed_costs_are_paid_once_and_not_by_every_step(
    now: list[float], seconds: float, share: float, steps: int
) -> None:
    task = task_of(convnet(), steps=500)
    found = paced(task, "moments", Meter(seconds, None, clock=lambda: now[0]), 0, share=share).budget.steps
    affordable = (share * (seconds - now[0]) - SETUP - TUNING) / STEP
    assert found == steps <= affordable
    assert found == 500 or found > affordable / 1.1 - 1


def test_without_a_ceiling_nothing_is_tried(now: list[float]) -> None:
    task = task_of(convnet(), steps=500)
    assert paced(task, "moments", Meter(None, None, clock=lambda: now[0]), 0, share=1.0) is task
    assert now == [0.0]


@pytest.mark.parametrize(
    ("seconds", "each", "samples"),
    [(1000.0, 0.01, 2048), (150.0, 0.01, 1024), (1000.0, 0.1, 512), (1.0, 0.1, 512), (None, 10.0, 2048)],
)
def test_a_short_budget_gives_the_metric_fewer_images(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, each: float, samples: int
) -> None:
    time = [0.0]

    def measure(task: AttackTask) -> None:
        time[0] += each * task.samples

    monkeypatch.setattr(pacing, "measured_metrics", measure)
    assert sampled(task_of(convnet()), Meter(seconds, None, clock=lambda: time[0])).samples == samples


def test_a_network_without_statistics_is_not_measured() -> None:
    task = task_of(convnet(normalised=False))
    assert sampled(task, Meter(1e-9, None)) is task
