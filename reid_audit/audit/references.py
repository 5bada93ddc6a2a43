"""The reference models of an audit: what they are taught, on whose films, and what they say beside the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reid_audit.attack.interface import AttackTask
from reid_audit.audit.cohorts import OpenedCohorts, Taught, cohort_ids
from reid_audit.audit.given_references import given_models
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import OutOfTime, Pace
from reid_audit.imaging.stack import Joined, Stack, blocks
from reid_audit.network.answers import outputs_of, own_answers, taught_answers
from reid_audit.observer import Noted
from reid_audit.records import ReferenceSummary, TaughtBy
from reid_audit.reference.lesson import PASS, Lesson
from reid_audit.reference.models import Original, ReferenceModels, pool_of, reference_models
from reid_audit.reference.recipe import asked_for
from reid_audit.reference.shelf import Shelf
from reid_audit.reference.signals import over_views, signals
from reid_audit.score.calibration import Floats
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.observed import Near, Observed


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Reference models for the films of one comparison."""

    lesson: Lesson
    models: ReferenceModels
    rows: NDArray[np.int64]
    """[N] where each film of the comparison is in the pool."""

    def score(self, module: nn.Module, pace: Pace, asked: NDArray[np.int64] | None = None) -> Floats:
        """Member-likeness of the films of the comparison, or of those ``asked``, under ``module``. Raises OutOfTime."""
        return against_references(self.observed(module, pace, asked))

    def observed(self, module: nn.Module, pace: Pace, asked: NDArray[np.int64] | None = None) -> Observed:
        """What ``module`` and the references say of these films. Raises OutOfTime."""
        rows = self.rows if asked is None else self.rows[asked]
        models, stage = self.models.at(rows), "membership: beside the references"
        own = signals(module, self.lesson, rows, pace, stage, near=models.near, mirrored=models.mirrored)
        near = Near(own, models.views) if models.near else None
        return Observed(over_views(own, mirrored=models.mirrored), models.signals, models.inside, near)


@dataclass(frozen=True, slots=True, eq=False)
class Referenced:
    """The reference models of one audit. Films of the pool: training films, then all of the hold-out."""

    lesson: Lesson
    models: ReferenceModels
    taught_by: TaughtBy
    training_films: int
    given: int = 0
    """How many of them were there already."""

    @property
    def summary(self) -> ReferenceSummary:
        """What may be published of them."""
        return ReferenceSummary(
            count=self.given or self.models.count,
            taught_by=self.taught_by,
            given=self.given > 0,
            epochs=self.models.epochs,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of what they say."""
        said = (self.models.inside, self.models.views, self.lesson.wanted.double().numpy())
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in said)).hexdigest()

    def compared(self, cohorts: OpenedCohorts) -> Beside:
        """For the comparison of both cohorts without the canaries."""
        others = np.arange(len(self.lesson.images) - self.training_films)
        if cohorts.canaries is not None:
            others = cohorts.canaries.others
        return self._beside(np.concatenate([np.arange(self.training_films), self.training_films + others]))

    def planted(self, canaries: NDArray[np.int64], others: NDArray[np.int64]) -> Beside:
        """For the comparison of the canaries, rows of the hold-out, with the others of it."""
        return self._beside(self.training_films + np.concatenate([canaries, others]))

    def taught(self, holdout: NDArray[np.int64]) -> Taught:
        """What the references were taught about films of the hold-out."""
        wanted = self.lesson.wanted[torch.from_numpy(self.training_films + holdout)]
        return Taught(wanted, self.models.mirrored)

    def _beside(self, rows: NDArray[np.int64]) -> Beside:
        return Beside(self.lesson, self.models, rows)


def references_of(
    task: AttackTask,
    cohorts: OpenedCohorts,
    request: AuditRequest,
    pace: Pace,
    shelf: Shelf,
    shown: Callable[[nn.Module], None] | None = None,
) -> Referenced | None:
    """The reference models the policy asks for, as far as the time reaches; None where there are none.

    Films of both cohorts are pooled, canaries included, and dealt out blind to their cohort. ``shown`` is given each
    network that is trained.
    """
    recipe, reference, holdout = request.policy.references, cohorts.reference, cohorts.holdout
    if reference is None or holdout is None or not asked_for(recipe, task.target.match.head):
        return None
    images = Joined(reference.images, holdout.images)
    words = np.concatenate([reference.labels, holdout.labels])
    patients = np.concatenate([cohort_ids("T", reference.patients), cohort_ids("H", holdout.patients)])
    is_member = np.arange(len(images)) < len(reference.images)
    base = None if task.base is None else task.base.module
    try:
        lesson, taught_by = lesson_of(task, images, words, pace)
        if lesson is None:
            pace.observer.notice(Noted("no reference models: a network of numbers needs --label"))
            return None
        if recipe.given:
            names = np.concatenate([reference.patients, holdout.patients])
            models = given_models(task, request, lesson, names, pace)
            return Referenced(lesson, models, taught_by, len(reference.images), given=len(recipe.given))
        pool = pool_of(lesson, patients.tolist(), is_member)
        original = Original(task.target, base, task.preprocess)
        models = reference_models(original, pool, recipe, seed=request.seed, pace=pace, shelf=shelf, shown=shown)
    except OutOfTime:
        return None
    return Referenced(lesson, models, taught_by, len(reference.images)) if models.count else None


def lesson_of(task: AttackTask, images: Stack, words: NDArray[np.str_], pace: Pace) -> tuple[Lesson | None, TaughtBy]:
    """What references are taught about ``images``: the manifest's labels, else the network's own answers.

    None for a regression without labels: it tells its own numbers without error. Raises OutOfTime.
    """
    kind, device = task.target.match.head, task.space.mean.device

    def prepare(part: Tensor) -> Tensor:
        return task.inputs(part.to(device)).contiguous(memory_format=torch.channels_last)

    seen: list[Tensor] = []
    own: list[Tensor] = []
    with torch.no_grad():
        for part in pace.over("what the references are taught", blocks(images, PASS), len(images), size=len):
            outputs = outputs_of(task.target.module(prepare(part))).cpu()
            seen += [outputs] if outputs.dim() == 2 else []  # a map of answers is kept, not one of numbers
            own.append(own_answers(kind, outputs))
    taught = taught_answers(kind, torch.cat(seen), words) if seen else None
    if taught is None and kind == "regression":
        return None, "answers"
    return Lesson(images, torch.cat(own) if taught is None else taught, kind, prepare), (
        "answers" if taught is None else "labels"
    )
