"""How an audit divides its time: tried on this machine, not guessed, and what the verdict rests on first.

Scoring and the controls keep their time before the attack gets its steps. Where not everything fits, it is made smaller
in this order: images of the metric, steps, the second pass of the batch correction, patients whose membership is asked;
then the power control is left out, without which there is no PASS, and at last the attack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median

import torch

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.likelihood import recipe
from reid_audit.attack.methods import METHODS
from reid_audit.audit.attack_runs import NEGATIVE_SIZE, can_rebuild, generator_for
from reid_audit.audit.canary import Planting
from reid_audit.budget import Meter
from reid_audit.network.batchnorm import image_moments, statistics_layers
from reid_audit.network.ordinary import prior_batches
from reid_audit.network.reading import batch_size
from reid_audit.observer import Event, StageEnded, StageStarted
from reid_audit.records import StoppedBy
from reid_audit.score.alone import ALONE

METRIC_SHARE, METRIC_MOST = 0.1, 0.25
"""Share of the time left that one metric is meant to take, and from which on there is no time for an attack."""
FEWEST_IMAGES = 512
PROBE_STEPS, PROBE_SHARE = 3, 0.15
"""Steps of the attack that are tried, and the most of the time left that trying may take."""
FEWEST_STEPS = 60
GRID = 1.1
MARGIN = 0.85
"""Share of the time for the attacks that is planned."""
TRIALS = 3
EDGE = 256
"""Rows of the matrix whose eigenvectors are timed."""
CORE = 2.2e-10
"""Seconds of an eigendecomposition over its edge cubed, on the core the costs below were measured on."""
SLOWEST = 8.0
"""How much slower than that a machine is thought to be at most: more is a moment's stall."""
CLOSING = 4.0
"""Seconds for the evidence page and the reports on that core."""
PER_FILM = 0.004
"""Seconds to read a film of 256 px there."""
MOST_ASKED = 8192
"""Films of both cohorts whose membership is asked at most: which of them together explain the stored statistics is a
question to all pairs of them. Whole patients, drawn by chance before a score is seen."""
ENOUGH = 500
"""Films of both cohorts below which membership is not asked of fewer for the sake of other stages."""
COSTS: dict[str, tuple[float, float, float]] = {
    "linkage": (0.1, 2.5e-4, 0.0),
    "exchangeability": (0.1, 8e-4, 1e-7),
    "sensitivity": (1.4, 0.0, 0.0),
    "membership": (0.3, 5e-4, 3e-7),
    "likely samples": (0.1, 3e-4, 0.0),
    "age and sex": (0.2, 4e-4, 0.0),
    "distribution": (1.2, 1e-4, 0.0),
}
"""Seconds of a comparison of n films of up to 224 px on that core: constant, times n, times n squared, of 300 to 3,000
films (``python -m benchmarks.plan costs``). Passes of the network apart. A test of one metric that nobody has timed is
taken for a linkage."""
A_VALUE = 1e-10
"""Seconds that membership takes there for two films and one value that the network stores, more than in ``COSTS``."""
COMPARISONS = tuple(dict.fromkeys((*COSTS, *(test.name for test in ALONE))))
"""Every comparison of an audit."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine needs for the audited network, in seconds."""

    image: float
    """Seconds to pass one image through the network and take its statistics."""
    cubic: float
    """Seconds of an eigendecomposition, divided by the cube of the matrix's edge."""
    stored: int = 0
    """How many values of statistics the network stores."""

    @property
    def core(self) -> float:
        """How much slower this machine is than the core that costs were measured on."""
        return self.cubic / CORE

    def comparison(self, name: str, films: int) -> float:
        """Seconds that the comparison called ``name`` in ``COMPARISONS`` takes for so many films."""
        constant, linear, square = COSTS.get(name, COSTS["linkage"])
        square += A_VALUE * self.stored if name == "membership" else 0.0
        return self.core * (constant + linear * films + square * min(films, MOST_ASKED) ** 2)

    def metric(self, task: AttackTask, samples: int) -> float:
        """Seconds to measure the metric on so many images: one pass over them, and one decomposition for each layer."""
        widths = [2 * layer.num_features for _, layer in statistics_layers(task.target.module)]
        return samples * self.image + self.cubic * sum(min(samples, width) ** 3 for width in widths)

    def membership(self, films: int, passes: int) -> float:
        """Seconds to pass so many films through the network and to turn the answers into membership scores."""
        asked = min(films, MOST_ASKED)
        return passes * asked * self.image + self.comparison("membership", asked)

    def attack(self, task: AttackTask, steps: int) -> float:
        """Seconds that so many steps of an attack take at least: forward and backward pass of every image."""
        return 2.0 * steps * sum(task.budget.particles) * self.image

    def planting(self, work: Planting) -> float:
        """Seconds to fine-tune copies on the canaries, where a step costs as much as three and a half passes."""
        return 3.5 * work.shown * self.image

    def negative(self, task: AttackTask) -> float:
        """Seconds of the negative control, whose images pass through the network twice."""
        return 2.0 * NEGATIVE_SIZE * sum(task.budget.particles) * self.image


def speed_of(task: AttackTask, meter: Meter) -> Speed:
    """Batches of the prior's images, and decompositions of one matrix: the middle of ``TRIALS`` times each."""
    count = batch_size(task.space.mean[None])
    batch = next(iter(prior_batches(task.space, task.inputs, count)))
    matrix = torch.randn(EDGE, EDGE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    square = matrix @ matrix.T

    def once(work: Callable[[], object]) -> float:
        began = meter.elapsed()
        work()
        return meter.elapsed() - began

    with torch.no_grad():
        image_moments(task.target.module, batch[:1])  # the first pass allocates and plans
        image = median(once(lambda: image_moments(task.target.module, batch)) for _ in range(TRIALS)) / count
    cubic = median(once(lambda: torch.linalg.eigh(square)) for _ in range(TRIALS)) / EDGE**3
    return Speed(image, min(cubic, SLOWEST * CORE), task.target.match.data_statistics)


def sampled(task: AttackTask, meter: Meter, speed: Speed | None) -> AttackTask | None:
    """The task with as few images for its metric as the time left asks for: 2,048, 1,024 or 512. None: no time for any.

    Halves, so that a machine a little slower today still finds kept results.
    """
    if speed is None or not recipe(task).measured:
        return task
    samples = task.samples
    while samples > FEWEST_IMAGES and speed.metric(task, samples) > METRIC_SHARE * meter.left():
        samples //= 2
    return replace(task, samples=samples) if speed.metric(task, samples) <= METRIC_MOST * meter.left() else None


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


@dataclass(frozen=True, slots=True)
class AttackCost:
    """Seconds that every attack takes, and seconds that each of its steps takes."""

    fixed: float
    step: float

    def seconds(self, steps: int) -> float:
        """Seconds of an attack of so many steps."""
        return self.fixed + steps * self.step


def attack_cost(task: AttackTask, method: str, meter: Meter, seed: int) -> AttackCost | None:
    """What an attack takes, from one of ``PROBE_STEPS``; None where even that takes too much of the time left."""
    if not can_rebuild(task, method):
        return AttackCost(0.0, 0.0)
    probe = replace(task, budget=task.budget.model_copy(update={"steps": PROBE_STEPS}))
    generator = generator_for(seed, "probe", task.space.mean.device)
    began, loops = meter.elapsed(), LoopTimer(meter)
    made = METHODS[method](probe, generator=generator, meter=meter.share(PROBE_SHARE), observer=loops)
    if made.spend.stopped_by is StoppedBy.SECONDS:
        return None
    return AttackCost(meter.elapsed() - began - loops.seconds, loops.seconds / PROBE_STEPS)


def rounded(steps: int) -> int:
    """The next lower of 60, 66, 73, ... (10 % apart): a machine a little slower today still finds kept results."""
    return int(FEWEST_STEPS * GRID ** math.floor(math.log(steps / FEWEST_STEPS, GRID) + 1e-9))


@dataclass(frozen=True, slots=True)
class Work:
    """How much an audit has to do: films to compare, and attacks to run."""

    films: int
    """Films of both cohorts."""
    others: int
    """Films of the hold-out cohort."""
    canaries: int
    attacks: int
    """Attacks on the target, one for each seed."""
    steps: int
    """Steps of each attack, as the policy asks."""
    controlled: bool
    """Whether the policy asks for the power control."""
    reading: float = 0.0
    """Seconds for reading the films; 0: not known."""
    encoding: float = 0.0
    """Seconds for passing them through a re-identification encoder; 0 without one."""
    taught: bool = False
    """Whether there are to be reference models, as which canaries are taught."""


@dataclass(frozen=True, slots=True)
class Division:
    """How the seconds of an audit are divided."""

    steps: int
    """Steps of each attack; 0: there is no time for one."""
    kept: float
    """Seconds that the attacks on the target leave for what follows."""
    control: float = 0.0
    """Seconds of them for the power control, its attack included."""
    controlled: bool = False
    """Whether there is time for the power control."""


def divide(task: AttackTask, work: Work, left: float, speed: Speed, cost: AttackCost | None) -> Division:
    """How ``left`` seconds are spent; ``cost``: None where no attack can be afforded."""
    found = Division(0, scoring_seconds(task, work, speed, 2, work.films))
    if cost is None:
        return found
    for controlled, passes, films in smaller(work, controlled=work.controlled):
        scoring = scoring_seconds(task, work, speed, passes, films)
        fixed = control_seconds(task, work, speed, passes) if controlled else 0.0
        runs = work.attacks + controlled
        affordable = int((MARGIN * (left - scoring - fixed) / runs - cost.fixed) / max(1e-9, cost.step))
        steps = work.steps if affordable >= work.steps else rounded(affordable) if affordable >= FEWEST_STEPS else 0
        control = (fixed + cost.seconds(steps)) if controlled else 0.0
        found = Division(steps, scoring + control, control, controlled)
        if steps:
            return found
    return found


def smaller(work: Work, *, controlled: bool) -> Iterator[tuple[bool, int, int]]:
    """(power control, passes, films whose membership is asked): everything first, then ever less."""
    for kept in (True, False) if controlled else (False,):
        yield kept, 2, work.films
        yield kept, 1, work.films
        if work.films > ENOUGH:
            yield kept, 1, ENOUGH


def scoring_seconds(task: AttackTask, work: Work, speed: Speed, passes: int, films: int) -> float:
    """Reading all films, an encoder's passes, the negative control, membership of ``films`` of them, every other
    comparison, reports."""
    others = sum(speed.comparison(name, work.films) for name in COMPARISONS if name != "membership")
    linkages = work.attacks * speed.comparison("linkage", work.films)
    reading = (work.reading or speed.core * PER_FILM * work.films) + work.encoding
    return reading + speed.core * CLOSING + speed.negative(task) + speed.membership(films, passes) + others + linkages


def control_seconds(task: AttackTask, work: Work, speed: Speed, passes: int) -> float:
    """Seconds of the power control without its attack."""
    planting = Planting.of(work.canaries, statistics=bool(statistics_layers(task.target.module)), taught=work.taught)
    asked = planting.copies * speed.membership(min(work.others, ENOUGH), passes)
    return (
        speed.planting(planting) + speed.metric(task, task.samples) + asked + speed.comparison("linkage", work.others)
    )
