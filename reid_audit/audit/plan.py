"""What an audit can afford: its network tried on this machine, its work counted, its time divided."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.likelihood import with_metrics
from reid_audit.audit.allowance import Allowance
from reid_audit.audit.attack_runs import can_rebuild
from reid_audit.audit.pacing import (
    CLOSING,
    FEWEST_STEPS,
    METRIC_MOST,
    AttackCost,
    Division,
    Speed,
    Work,
    attack_cost,
    divide,
    sampled,
    speed_of,
)
from reid_audit.audit.request import AttackChoice, Films
from reid_audit.audit.setup import Setup
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.observer import Noted, Observer
from reid_audit.records import Policy, Reduced, References
from reid_audit.reference.recipe import asked_for, epochs_of
from reid_audit.reference.signals import VIEWS

EPOCHS = 0.5
"""Share of the epochs a recipe allows that training is thought to take."""
ASKING = 0.1
"""Share of the time for reference models that asking the audited network beside them may take."""
TRAINING_PASSES = 3.5
"""What a training step costs, in passes."""
UNKNOWN = (500, 500)
"""Films of either cohort where nobody has counted them."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The setup with the steps and images its attacks can afford, and the time of everything else."""

    setup: Setup
    speed: Speed | None = None
    """None without a time ceiling: then nothing is made smaller."""
    cost: AttackCost | None = None
    """None where there is no time for an attack, or no ceiling."""
    division: Division | None = None
    reduced: tuple[Reduced, ...] = ()
    references: float = 0.0
    """Seconds that the attacks leave for the reference models; they may take more where more is left."""

    @property
    def untried(self) -> bool:
        """Whether there is no time for any attack."""
        return self.division is not None and self.division.steps == 0

    @property
    def controlled(self) -> bool:
        """Whether there is time for the power control."""
        return self.division is None or self.division.controlled

    def attack_seconds(self) -> float:
        """Seconds of one attack."""
        return 0.0 if self.cost is None or self.division is None else self.cost.seconds(self.division.steps)

    def for_attack(self, meter: Meter, later: int) -> Meter:
        """The meter of an attack on the target, after which ``later`` more follow."""
        if self.division is None:
            return meter.share(1.0)
        return meter.keeping(self.division.kept + later * self.attack_seconds())

    def for_references(self, meter: Meter, observer: Observer) -> Pace:
        """The reference models: what the attack has left over, and all that scoring and the control do not need."""
        kept = 0.0 if self.division is None else self.division.kept - (1.0 - ASKING) * self.references
        return Pace(meter.keeping(kept), observer)

    def for_scoring(self, meter: Meter, observer: Observer) -> Allowance:
        """The time for scoring: all that is left, less that of the power control and of the reports."""
        return self.for_control(meter, observer).keeping(0.0 if self.division is None else self.division.control)

    def for_control(self, meter: Meter, observer: Observer) -> Allowance:
        """The time for the power control: all that is left, less that of the reports."""
        closing = 0.0 if self.speed is None else CLOSING * self.speed.core
        pace = Pace(meter, observer).keeping(closing)
        return Allowance(pace, self.speed, until_reports=pace)


def planned(setup: Setup, policy: Policy, films: Films, attack: AttackChoice, pace: Pace) -> Plan:
    """What fits into the time; all that the policy asks for where there is no ceiling."""
    meter, observer = pace.meter, pace.observer
    observer.notice(Noted(f"architecture: {setup.task.target.match.name}, {setup.frame.side} px, {setup.device}"))
    if meter.seconds is None:
        return Plan(replace(setup, task=with_metrics(setup.task, pace)))
    speed = speed_of(setup.task, meter)
    task, cost = measured(setup.task, attack, pace, speed)
    plan = divided(replace(setup, task=task), policy, films, meter.left(), Tried(setup.task, speed, cost))
    for one in plan.reduced:
        observer.notice(Noted(f"{one.stage.replace('_', ' ')}: {one.done} of {one.of} {one.unit}, to fit the budget"))
    return plan


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What a short trial showed: how fast the machine is, and what an attack costs."""

    asked: AttackTask
    """The task before anything was made smaller."""
    speed: Speed
    cost: AttackCost | None
    """None where no attack can be afforded."""


def divided(setup: Setup, policy: Policy, films: Films, seconds: float, tried: Tried) -> Plan:
    """How ``seconds``, those left after the trial and the measuring of the metric, are spent."""
    task, speed, cost = setup.task, tried.speed, tried.cost
    work = work_of(policy, replace(setup, task=tried.asked), films)
    left = seconds - setup.preprocessing.seconds
    asked = references_seconds(policy.references, task.target, work, speed)
    division = divide(task, work, left - asked, speed, cost)
    if division.steps < work.steps and policy.references.when != "required":
        asked, division = 0.0, divide(task, work, left, speed, cost)
    division = replace(division, kept=division.kept + asked + setup.preprocessing.seconds)
    task = replace(task, budget=task.budget.model_copy(update={"steps": division.steps or work.steps}))
    reduced = tuple(made_smaller(tried.asked, task, work, division))
    return Plan(replace(setup, task=task), speed, cost, division, reduced, asked)


def references_seconds(recipe: References, target: Target, work: Work, speed: Speed) -> float:
    """Seconds to train and ask the reference models the policy asks for; 0 where they cannot be had."""
    if recipe.given or not work.taught:
        return 0.0
    passes = TRAINING_PASSES * EPOCHS * epochs_of(recipe, target.module) * min(0.5, 1.0 - work.others / work.films)
    return (1.0 + ASKING) * recipe.count * (passes + VIEWS) * work.films * speed.image


def work_of(policy: Policy, setup: Setup, films: Films) -> Work:
    """What the audit has to do under ``policy``."""
    members, others = films.counted or UNKNOWN
    both = films.reference is not None and films.holdout is not None
    every = (members if films.reference else 0) + (others if films.holdout else 0)
    return Work(
        films=every,
        others=others if films.holdout else 0,
        canaries=policy.controls.canaries,
        attacks=policy.repeats,
        steps=setup.task.budget.steps,
        controlled=policy.controls.plants and both,
        reading=films.reading,
        encoding=0.0 if setup.encoder is None else every * setup.encoder.seconds,
        taught=both and asked_for(policy.references, setup.task.target.match.head),
    )


def measured(task: AttackTask, attack: AttackChoice, pace: Pace, speed: Speed) -> tuple[AttackTask, AttackCost | None]:
    """The task with its metric, and what an attack costs; None where there is no time for one, which is not tried where
    the passes alone of its fewest steps take too long."""
    meter = pace.meter
    least = min(FEWEST_STEPS, task.budget.steps)
    if can_rebuild(task, attack.method) and speed.attack(task, least) > meter.left():
        return task, None
    afforded = sampled(task, meter, speed)
    if afforded is None:
        return task, None
    try:
        known = with_metrics(afforded, replace(pace, meter=meter.share(2 * METRIC_MOST)))
    except OutOfTime:
        return task, None
    return known, attack_cost(known, attack.method, meter, attack.seed)


def made_smaller(asked: AttackTask, task: AttackTask, work: Work, division: Division) -> list[Reduced]:
    """What the plan left of what the policy asks."""
    found = []
    if task.samples < asked.samples and division.steps:
        found.append(Reduced(stage="metric", done=task.samples, of=asked.samples, unit="images"))
    if division.steps < work.steps:
        found.append(Reduced(stage="attack", done=division.steps, of=work.steps, unit="steps"))
    if work.controlled and not division.controlled:
        found.append(Reduced(stage="attack_power", done=0, of=1, unit="runs"))
    return found
