"""``distil``: a fresh student of the same architecture that only ever sees public films and the original's answers.

Hinton et al., Distilling the Knowledge in a Neural Network, 2015; for privacy Shejwalkar and Houmansadr, Membership
Privacy for Machine Learning Models Through Knowledge Transfer, AAAI 2021. Only the chosen answers are handed on, not
their certainty, which would carry more of the training.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.lessons import own_lesson
from reid_audit.mitigate.statistics import with_statistics_of
from reid_audit.records import References
from reid_audit.reference.fresh import fresh
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.training import Course, trained

NAME = "distil"
EPOCHS, DECAY = 20, 0.05
RECIPE = References(count=1, epochs=EPOCHS, decay=DECAY, augmentation="moved")


def distil(found: Copy, given: Given) -> Copy:
    """The student. Random numbers of its start come from the seed."""
    teacher, public = found.target, given.films(NAME)
    lesson = Lesson(public.images, own_lesson(teacher, public, given, NAME), teacher.match.head, given.prepare)
    rows = torch.arange(len(lesson.images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(beginning(given.seed))
        student = replace(teacher, module=fresh(teacher.module))
        trained(student.module, lesson, rows, Course(RECIPE, None), seed=given.seed, pace=given.pace, name=NAME)
    said = f"a fresh network learned the original's answers to {len(rows)} {public.called} in {EPOCHS} epochs"
    return with_statistics_of(replace(found, target=student), given, NAME, said)


def beginning(seed: int) -> int:
    """Seed of the student's start: not ``seed`` itself, from which the original may have begun too."""
    return int.from_bytes(hashlib.sha256(f"student {seed}".encode()).digest()[:6], "big")


MITIGATION = Mitigation(
    idea="Train a fresh student on public films with the original's answers; no weight of the original is kept.",
    source="Hinton et al. 2015; Shejwalkar and Houmansadr, AAAI 2021 (membership privacy through knowledge transfer)",
    remains=(
        "What the original answers about public films still depends on its training: a trace of a patient can pass "
        "through the answers.",
        "Public films are in the student's training: they, and the people on them, take the place of the patients.",
    ),
    effect="replaces",
    apply=distil,
    public=True,
    trains=True,
)
