"""What a network is taught on public films: their labels, or the answers of the network itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Given, Public
from reid_audit.network.answers import outputs_of, own_answers, taught_answers
from reid_audit.reference.lesson import PASS, Lesson

FEWEST = 32
"""Public films below which training on them teaches those few by heart."""


def lesson_of(target: Target, public: Public, given: Given, name: str) -> tuple[Lesson, str]:
    """The public films with their labels where those are known, else with the network's own answers; and which it was.

    Raises MitigationError for a network without answers, or with too few films; and OutOfTime.
    """
    kind, taught = target.match.head, "its own answers"
    wanted = own_lesson(target, public, given, name)
    if kind != "segmentation" and bool(np.all(public.labels != "")):
        labels = taught_answers(kind, torch.cat(list(_outputs(target, public, given, name))), public.labels)
        if labels is not None:
            wanted, taught = labels.cpu(), "their labels"
    return Lesson(public.images, wanted, kind, given.prepare), taught


def own_lesson(target: Target, public: Public, given: Given, name: str) -> Tensor:
    """[M, *] the network's own answers to the public films, on the CPU."""
    if target.match.head == "features":
        raise MitigationError(
            f"{name} has nothing to teach: the network gives features and no answers",
            closest=target.match.name,
            remedy=f"leave --apply {name} out",
        )
    if len(public.images) < FEWEST:
        raise MitigationError(
            f"{name} needs at least {FEWEST} {public.called}, there are {len(public.images)}",
            closest=f"{len(public.images)} films",
            remedy="give more with --public",
        )
    return torch.cat([own_answers(target.match.head, part).cpu() for part in _outputs(target, public, given, name)])


def _outputs(target: Target, public: Public, given: Given, name: str) -> Iterator[Tensor]:
    """What the network returns for a few public films [B, K, *] at a time: dense outputs of all would be large."""
    parts = torch.split(public.images, PASS)
    for part in given.pace.over(f"{name}: answers", parts, len(public.images), size=len):
        with torch.no_grad():
            yield outputs_of(target.module(given.prepare(part)))
