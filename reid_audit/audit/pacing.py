"""How many steps, and how many images for its metric, an attack can afford in the time it has: tried, not guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.likelihood import measured_metrics, recipe
from reid_audit.attack.methods import METHODS
from reid_audit.audit.attack_runs import generator_for
from reid_audit.budget import Meter
from reid_audit.observer import Event, StageEnded, StageStarted

METRIC_SHARE = 0.1
"""Share of the time left that one metric may take (planned; each attacked network has its own)."""
PROBE_IMAGES, FEWEST_IMAGES = 64, 512
PROBE_STEPS = 3
FEWEST_STEPS = 60
GRID = 1.1


def sampled(task: AttackTask, meter: Meter) -> AttackTask:
    """The task with as few images for its metric as the time left asks for: 2,048, 1,024 or 512.

    Halves, so that a machine a little slower today still finds kept results.
    """
    if meter.seconds is None or not recipe(task).measured:
        return task
    began = meter.elapsed()
    measured_metrics(replace(task, samples=PROBE_IMAGES))
    seconds_each = (meter.elapsed() - began) / PROBE_IMAGES
    samples = task.samples
    while samples > FEWEST_IMAGES and samples * seconds_each > METRIC_SHARE * meter.left():
        samples //= 2
    return replace(task, samples=samples)


@dataclass(slots=True)
class LoopTimer:
    """Seconds in the stages whose length the budget's steps set; what else an attack does costs the same every time."""

    meter: Meter
    seconds: float = 0.0
    began: float | None = None

    def notice(self, event: Event) -> None:
        """Start and stop with the stages no longer than the probe."""
        if isinstance(event, StageStarted) and event.total is not None and event.total <= PROBE_STEPS:
            self.began = self.meter.elapsed()
        elif isinstance(event, StageEnded) and self.began is not None:
            self.seconds += self.meter.elapsed() - self.began
            self.began = None


def paced(task: AttackTask, method: str, meter: Meter, seed: int, *, share: float) -> AttackTask:
    """The task with as many steps as fit into ``share`` of the time left, so that the whole schedule runs.

    A cut-off schedule ends hot and finds nothing. The power control runs equally many steps, so what fewer steps
    cost in power is measured. Below ``FEWEST_STEPS`` nothing is gained: the task stays, and its attack will run out of
    time.
    """
    if meter.seconds is None:
        return task
    probe = replace(task, budget=task.budget.model_copy(update={"steps": PROBE_STEPS}))
    generator = generator_for(seed, "probe", task.space.mean.device)
    began, loops = meter.elapsed(), LoopTimer(meter)
    METHODS[method](probe, generator=generator, meter=Meter(None, None), observer=loops)
    fixed = meter.elapsed() - began - loops.seconds
    affordable = int((share * meter.left() - fixed) / max(1e-9, loops.seconds / PROBE_STEPS))
    if affordable >= task.budget.steps or affordable < FEWEST_STEPS:
        return task
    return replace(task, budget=task.budget.model_copy(update={"steps": rounded(affordable)}))


def rounded(steps: int) -> int:
    """The next lower of 60, 66, 73, ... (10 % apart): a machine a little slower today still finds kept results."""
    return int(FEWEST_STEPS * GRID ** math.floor(math.log(steps / FEWEST_STEPS, GRID) + 1e-9))
