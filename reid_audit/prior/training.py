"""A run of PGGAN training: progressive growing with fade-in, snapshots of which the best is kept, and resuming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from reid_audit.artefacts.provenance import Declaration, Origin
from reid_audit.artefacts.storage import tensor_digest
from reid_audit.budget import Meter
from reid_audit.errors import PriorError
from reid_audit.imaging.features import FeatureSpace, fit_features, frechet_distance, kernel_distance
from reid_audit.observer import Observer, SilentObserver, StageAdvanced, StageEnded, StageStarted
from reid_audit.prior.adversarial import Adversaries
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import WIDTHS, PgganPrior, prior_of
from reid_audit.prior.recipe import TrainRecipe, rate_at, schedule
from reid_audit.prior.sampling import draw, write_grid
from reid_audit.prior.snapshot import read_state, write_state
from reid_audit.records import PriorCard

STAGE = "train pggan"
PRIOR_FILE, GRID_FILE = "prior.safetensors", "samples.png"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One snapshot: FID and KID of as many samples as held-out films, in the wavelet space at full resolution."""

    step: int
    side: int
    alpha: float
    fid: float
    kid: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """The best snapshot, and the way there."""

    prior: PgganPrior
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Where and how long one training runs."""

    out: Path
    """Folder of the run: its state, and the best snapshot as ``prior.safetensors``."""
    meter: Meter
    """The ceiling of the whole training, over all processes that work on it."""
    observer: Observer = field(default_factory=SilentObserver)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    resume: bool = False
    """Whether a run that was killed goes on from its last snapshot."""


def train_pggan(
    images: Tensor,
    patients: Sequence[str],
    declared: Declaration,
    training: Training,
    *,
    generator: torch.Generator,
    recipe: TrainRecipe | None = None,
    start: PgganPrior | None = None,
) -> TrainResult:
    """Train on ``images`` [N, C, S, S] in [0, 1] until the meter ends, and write into the folder of the training.

    A run that is resumed under a step ceiling gives the result of an unbroken run. A finished run goes on at its last
    level when the meter allows more than it had. The networks of ``start``, a prior of side S, are trained on at the
    last level, instead of growing new ones. Raises PriorError for unusable images or a meter without ceiling,
    RunStateError to resume with other inputs.
    """
    recipe, meter, observer = recipe or TrainRecipe(), training.meter, training.observer
    _check(images, patients, meter)
    card = PriorCard(
        id=declared.name,
        kind="pggan",
        sha256="0" * 64,
        side=images.shape[-1],
        channels=images.shape[1],
        declared_training_sets=declared.data_sets,
        images=len(images),
        patients=len(set(patients)),
        licence=declared.licence,
    )
    training.out.mkdir(parents=True, exist_ok=True)
    run = _Run(images, patients, card, recipe, generator, training.device, training.out, declared.origin)
    if start is not None:
        run.begin_from(start)
    if training.resume:
        run.restore()
    observer.notice(StageStarted(STAGE, meter.steps))
    while run.fraction(meter) < 1:
        loss = run.step(run.fraction(meter))
        meter.tick()
        observer.notice(StageAdvanced(STAGE, run.steps, loss))
        if run.steps % recipe.snapshot_every == 0 or run.fraction(meter) >= 1:
            run.snapshot(meter)
    observer.notice(StageEnded(STAGE, f"best FID {run.best[1]:.2f} at {4 * 2 ** run.best[0]} px"))
    return TrainResult(run.best_prior(), tuple(run.curve))


@dataclass(slots=True, eq=False)
class _Run:
    """Networks, counters and snapshots of one training run."""

    images: Tensor
    patients: Sequence[str]
    card: PriorCard
    recipe: TrainRecipe
    generator: torch.Generator
    device: torch.device
    out: Path
    origin: Origin | None
    steps: int = 0
    before: tuple[int, float] = (0, 0.0)
    """Steps and seconds spent before this process."""
    best: tuple[int, float] = (-1, float("inf"))
    """Level and FID of the kept snapshot."""
    curve: list[CurvePoint] = field(default_factory=list)
    adversaries: Adversaries = field(init=False)
    space: FeatureSpace = field(init=False)
    held_out: Tensor = field(init=False)
    place: tuple[int, float] = (0, 1.0)
    """Level and alpha of the last step."""
    seed: int = field(init=False)
    begun: str = ""
    """Digest of the prior whose networks the run began with."""

    def __post_init__(self) -> None:
        self.seed = self.generator.initial_seed()
        kept = split_by_patient(self.patients, self.recipe.validation, self.generator)
        training, validation = self.images[~kept], self.images[kept]
        self.space = fit_features(training, "wavelet", dimensions=min(64, max(2, len(validation) // 3)))
        self.held_out = self.space(validation)
        self.adversaries = Adversaries.of(training, self.recipe, self.generator, self.device)

    def fraction(self, meter: Meter) -> float:
        """Share of the whole budget that is spent, over all processes of this run."""
        by_steps = 0.0 if meter.steps is None else (self.before[0] + meter.spent_steps) / meter.steps
        by_time = 0.0 if meter.seconds is None else (self.before[1] + meter.elapsed()) / meter.seconds
        return max(by_steps, by_time)

    def step(self, fraction: float) -> float:
        """One discriminator and one generator step at the level due at ``fraction``. Returns the generator's loss."""
        due = schedule(fraction, len(self.adversaries.pyramid), self.recipe)
        self.place = max(self.place, due)  # resuming with a larger budget shrinks no picture
        loss = self.adversaries.step(*self.place, rate=rate_at(fraction, self.recipe), taken=self.steps)
        self.steps += 1
        return loss

    def prior(self) -> PgganPrior:
        """The averaged generator as it is now."""
        average, critic = self.adversaries.average, self.adversaries.critic
        return prior_of(average, critic, self.card, *self.place, self.origin).to(torch.device("cpu"))

    def best_prior(self) -> PgganPrior:
        """The kept snapshot, read from its file."""
        prior = load_prior(self.out / PRIOR_FILE)
        if not isinstance(prior, PgganPrior):
            raise TypeError("the run's own file holds another prior")
        return prior

    def snapshot(self, meter: Meter) -> None:
        """Measure, keep the file if it is the best of its level, then save the state, each in one atomic step."""
        level, alpha = self.place
        prior = self.prior()
        drawn = draw(prior, len(self.held_out), self.images.shape[-1], self.seed)
        features = self.space(drawn)
        point = CurvePoint(
            step=self.steps,
            side=4 * 2**level,
            alpha=round(alpha, 4),
            fid=frechet_distance(features, self.held_out),
            kid=kernel_distance(features, self.held_out),
        )
        self.curve.append(point)
        if level > self.best[0] or point.fid < self.best[1]:
            self.best = (level, point.fid)
            recipe = {
                **asdict(self.recipe),
                "seed": self.seed,
                "start": self.begun,
                "steps": self.steps,
                "torch": torch.__version__,
            }
            held_out = json.dumps({**asdict(point), "images": len(self.held_out), "space": self.space.kind})
            prior.save(self.out / PRIOR_FILE, recipe=json.dumps(recipe), validation=held_out)
        write_grid(drawn[:32], self.out / GRID_FILE)
        write_state(self.out, self._state(meter))

    def _state(self, meter: Meter) -> dict[str, object]:
        return {
            "inputs": self._inputs(),
            **self.adversaries.state(),
            "random": self.generator.get_state(),
            "spent": (self.before[0] + meter.spent_steps, self.before[1] + meter.elapsed()),
            "steps": self.steps,
            "place": self.place,
            "best": self.best,
            "curve": [tuple(asdict(point).values()) for point in self.curve],
        }

    def restore(self) -> None:
        """Go back to the last snapshot; a folder without one starts from the beginning."""
        state = read_state(self.out, self._inputs())
        if state is None:
            return
        self.adversaries.restore(state)
        self.generator.set_state(state["random"])
        self.before, self.steps, self.best = state["spent"], state["steps"], state["best"]
        self.place = state["place"]
        self.curve = [CurvePoint(*values) for values in state["curve"]]

    def begin_from(self, start: PgganPrior) -> None:
        """Take over the networks of ``start``. Raises PriorError where they have another shape."""
        self.adversaries.begin_from(start)
        self.place, self.begun = (len(self.adversaries.pyramid) - 1, 1.0), start.card.sha256

    def _inputs(self) -> str:
        """What a resumed run must share with the run it continues."""
        return f"{tensor_digest({'images': self.images})} {self.seed} {self.begun} {self.recipe}"


def split_by_patient(patients: Sequence[str], share: float, generator: torch.Generator) -> Tensor:
    """[N] bool: films of the patients that are held out, at least one patient, and never all."""
    people = sorted(set(patients))
    count = min(len(people) - 1, max(1, round(share * len(people))))
    chosen = {people[i] for i in torch.randperm(len(people), generator=generator)[:count].tolist()}
    return torch.tensor([patient in chosen for patient in patients])


def _check(images: Tensor, patients: Sequence[str], meter: Meter) -> None:
    if images.dim() != 4 or images.shape[-1] not in WIDTHS or images.shape[-2] != images.shape[-1]:
        raise PriorError(
            f"images of shape {tuple(images.shape)} cannot train a generator",
            closest=f"resolutions {', '.join(map(str, WIDTHS))}",
            remedy="read the images at one of these sides, with --resolution",
        )
    if len(patients) != len(images) or len(set(patients)) < 8:
        raise PriorError(
            "too few patients to train a generator",
            closest=f"{len(images)} images of {len(set(patients))} patients; at least 8 are needed",
            remedy="give more images, or fit a Gaussian prior",
        )
    if meter.steps is None and meter.seconds is None:
        raise PriorError(
            "training has no end",
            closest="a meter without seconds and without steps",
            remedy="give a budget, for example --budget 45m",
        )
