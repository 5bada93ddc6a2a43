"""All reference models of an audit, one after the other: trained or taken from the shelf, asked, and let go."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.budget import OutOfTime, Pace
from reid_audit.imaging.stack import blocks
from reid_audit.observer import Noted, Observer
from reid_audit.records import PreprocessSpec, References
from reid_audit.reference.fresh import fresh
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.parts import parts
from reid_audit.reference.recipe import Bearing, bearing, settled
from reid_audit.reference.shelf import Shelf, key_of
from reid_audit.reference.signals import Floats, over_views, signals
from reid_audit.reference.training import Course, Goal, checked, standing, trained
from reid_audit.store import kept_or_noted

STEP = 1.25
"""Factor between two levels of sureness that references are trained to."""
ERRORS = 0.02
"""The same between two shares of errors, as a difference."""
ALIKE = 0.25
"""Share of the audited network's sureness below which a reference has not learned as it did, and says nothing of it."""
SURE = 6.0
"""Sureness that is enough whatever the audited network has, in nats: the scores cut log odds off there."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The films of both cohorts as references are trained on them, and whose they are."""

    lesson: Lesson
    patients: NDArray[np.int64]
    """[N] number of each film's patient, in an order of content that no name and no side changes."""
    members: int
    """Patients the audited network was trained on; a reference is trained on as many, at most on half of all."""
    digest: str
    """SHA-256 of films, answers and which films are one patient's."""

    @property
    def share(self) -> float:
        """Share of the patients in the part of one reference."""
        return min(0.5, self.members / (int(self.patients.max()) + 1))


def pool_of(lesson: Lesson, patients: Sequence[str], is_member: NDArray[np.bool_]) -> Pool:
    """``lesson`` with its films' owners. The order of patients is that of their films' digests."""
    answers = lesson.wanted.reshape(len(lesson.wanted), -1)
    images = (image for part in blocks(lesson.images) for image in part)
    films = [_digest(image, answer) for image, answer in zip(images, answers, strict=True)]
    own: dict[str, list[bytes]] = {}
    for patient, film in zip(patients, films, strict=True):
        own.setdefault(patient, []).append(film)
    persons = {patient: hashlib.sha256(b"".join(sorted(digests))).digest() for patient, digests in own.items()}
    place = {patient: number for number, patient in enumerate(sorted(persons, key=persons.__getitem__))}
    whole = hashlib.sha256(b"".join(sorted(persons.values()))).hexdigest()
    members = len({patient for patient, member in zip(patients, is_member.tolist(), strict=True) if member})
    return Pool(lesson, np.array([place[patient] for patient in patients]), members, whole)


def _digest(image: Tensor, answer: Tensor) -> bytes:
    pixels, wanted = image.contiguous().numpy(), answer.double().contiguous().numpy()
    return hashlib.sha256(pixels.tobytes() + wanted.tobytes()).digest()


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceModels:
    """What K reference models say of N pooled films."""

    inside: NDArray[np.bool_]
    """[K, N] whether a film was in the training of a reference."""
    views: Floats
    """[K, V, N] log odds of the taught answer: of the film, its mirror image, its shifts (``signals``)."""
    epochs: tuple[int, ...] = ()
    """How long each was trained; 0 for one from the shelf."""
    mirrored: bool = False
    """Whether films were shown mirrored too; the audited network is asked likewise."""

    @property
    def signals(self) -> Floats:
        """[K, N] log odds of the taught answer, mean over the views that training showed."""
        return over_views(self.views, mirrored=self.mirrored)

    @property
    def near(self) -> bool:
        """Whether films' neighbours were asked; the audited network is asked likewise."""
        return bool(self.views.shape[1] > 2)

    @property
    def count(self) -> int:
        """K."""
        return len(self.inside)

    def at(self, rows: NDArray[np.int64]) -> ReferenceModels:
        """The same of some of the films."""
        return replace(self, inside=self.inside[:, rows], views=self.views[..., rows])


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The network that the references stand beside, and what they start from."""

    target: Target
    base: nn.Module | None
    """The network before fine-tuning, where its weights are known: references start from it too."""
    spec: PreprocessSpec
    """The preprocessing of the films."""


def reference_models(
    original: Original,
    pool: Pool,
    recipe: References,
    *,
    seed: int,
    pace: Pace,
    shelf: Shelf,
    shown: Callable[[nn.Module], None] | None = None,
) -> ReferenceModels:
    """As many reference models as the recipe asks for, or an even number of them where the time reaches no further.

    ``shown`` is given each of them, in evaluation mode, before it is let go. One that has not learned the films as the
    audited network did is left out: beside it every film would look remembered, or none.

    Which patients a model learns is drawn from ``seed`` blind to the cohort, so that tests on its scores stay exact.
    Raises OutOfTime where there is no time to look at the audited network.
    """
    target, people = original.target, int(pool.patients.max()) + 1
    inside = parts(people, recipe.count, pool.share, np.random.default_rng([seed, people]))[:, pool.patients]
    seen = bearing(target.module, pool.lesson, pace, "bearing on the pooled films")
    recipe, goal = settled(recipe, seen), None if seen is None else goal_of(seen)
    course = Course(recipe, goal)
    mirrored = recipe.augmentation == "moved"
    every, near = np.arange(len(pool.patients)), recipe.count > 1
    found: list[Floats] = []
    epochs: list[int] = []
    alike: list[int] = []
    for number in range(recipe.count):
        name = f"reference {number + 1} of {recipe.count}"
        part = (seed, number)
        key = key_of(target, original.base, original.spec, recipe, films=pool.digest, goal=goal, part=part)
        try:
            module, took = _kept_or_trained(original, pool.lesson, inside[number], course, Slot(shelf, key), pace, name)
            found.append(signals(module, pool.lesson, every, pace, f"{name}: films", near=near, mirrored=mirrored))
            if shown is not None:
                shown(module)
        except OutOfTime:
            break
        epochs.append(took)
        pace.observer.notice(Noted(f"{name}: {f'{took} epochs' if took else 'kept from an earlier audit'}"))
        if goal is None or _as_sure(module, pool.lesson, goal, pace.observer, name):
            alike.append(number)
    kept = len(found) if len(found) == recipe.count else len(found) // 2 * 2
    rows = [number for number in alike if number < kept]
    values = np.stack([found[row] for row in rows]) if rows else np.zeros((0, 1, len(every)))
    return ReferenceModels(inside[rows], values, tuple(epochs[row] for row in rows), mirrored)


def _as_sure(module: nn.Module, lesson: Lesson, goal: Goal, observer: Observer, name: str) -> bool:
    """Whether a reference has learned as the audited network did: has ``ALIKE`` of its sureness of the pooled films, of
    which ``SURE`` counts at most."""
    odds, _ = standing(module, lesson, checked(lesson, torch.Generator().manual_seed(0)))
    if odds >= ALIKE * min(goal.odds, SURE):
        return True
    observer.notice(
        Noted(
            f"{name} is not used: it is much less sure of the films than the audited network ({odds:.2g} and "
            f"{goal.odds:.2g} nats); set rate or epochs in [references]"
        )
    )
    return False


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one reference is kept."""

    shelf: Shelf
    key: str
    """Digest of all that the reference depends on; its random numbers follow from it."""


def _kept_or_trained(
    original: Original, lesson: Lesson, inside: NDArray[np.bool_], course: Course, slot: Slot, pace: Pace, name: str
) -> tuple[nn.Module, int]:
    """A reference in evaluation mode, and the epochs it was trained for (0: it was kept)."""
    with torch.random.fork_rng(devices=_devices(original.target.module)):
        number = int(slot.key[:12], 16)
        torch.manual_seed(number)
        module = fresh(original.target.module, original.base)
        if slot.shelf.load(slot.key, module):
            return module.eval().requires_grad_(False), 0
        rows = torch.from_numpy(np.flatnonzero(inside))
        took = trained(module, lesson, rows, course, seed=number, pace=pace, name=name)
    with kept_or_noted(pace.observer, name):
        slot.shelf.save(slot.key, module)
    return module, took


def goal_of(seen: Bearing) -> Goal:
    """What references are trained to, in steps, so that networks trained alike share them."""
    errors = round(math.ceil(seen.errors / ERRORS - 1e-9) * ERRORS, 6)
    return Goal(level_of(seen.odds), errors or 1.0)


def level_of(odds: float) -> float:
    """The next lower of 1, 1.25, 1.56, ... and of their inverses."""
    return round(STEP ** math.floor(math.log(max(odds, 1e-2)) / math.log(STEP) + 1e-9), 6)


def _devices(module: nn.Module) -> list[torch.device]:
    device = next(module.parameters()).device
    return [device] if device.type == "cuda" else []
