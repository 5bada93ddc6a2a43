"""``fine-tune``: a few epochs on public films, so that the network forgets single ones.

Jagielski et al., Measuring Forgetting of Memorized Training Examples, ICLR 2023: what is not shown again is forgotten,
slowly, and least where it was learned last or hardest.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.lessons import lesson_of
from reid_audit.mitigate.statistics import owned, with_statistics_of
from reid_audit.records import References
from reid_audit.reference.training import Course, trained

NAME = "fine-tune"
EPOCHS, RATE, DECAY = 5, 3e-4, 0.05
RECIPE = References(count=1, epochs=EPOCHS, rate=RATE, decay=DECAY, augmentation="moved")


def fine_tune(found: Copy, given: Given) -> Copy:
    """The copy after a few epochs on public films with their labels, or with its own answers where nobody names any."""
    target, public = owned(found), given.films(NAME)
    lesson, taught = lesson_of(target, public, given, NAME)
    rows = torch.arange(len(lesson.images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        trained(target.module, lesson, rows, Course(RECIPE, None), seed=given.seed, pace=given.pace, name=NAME)
    said = f"{EPOCHS} epochs on {len(rows)} {public.called} with {taught}"
    return with_statistics_of(replace(found, target=target), given, NAME, said)


MITIGATION = Mitigation(
    idea="Train on for a few epochs on public films, whose statistics then replace those of the training.",
    source="Jagielski et al., ICLR 2023 (Measuring Forgetting of Memorized Training Examples)",
    remains=(
        "Films that were learned hardest are forgotten last: few epochs blur memory and do not erase it.",
        "An attacker who has the original too sees what changed.",
    ),
    effect="replaces",
    apply=fine_tune,
    public=True,
    trains=True,
)
