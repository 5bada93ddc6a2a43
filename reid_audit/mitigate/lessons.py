"""What a network is taught on public films: their labels, or the answers of the network itself."""

from __future__ import annotations

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
    wanted, taught = own_lesson(target, public, given, name), "its own answers"
    if bool(np.all(public.labels != "")):
        labels = taught_answers(target.match.head, outputs(target, public, given, name), public.labels)
        if labels is not None:
            wanted, taught = labels.cpu(), "their labels"
    return Lesson(public.images, wanted, target.match.head, given.prepare), taught


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
    return own_answers(target.match.head, outputs(target, public, given, name)).cpu()


def outputs(target: Target, public: Public, given: Given, name: str) -> Tensor:
    """[M, K, *] what the network returns for the public films."""
    parts = torch.split(public.images, PASS)
    with torch.no_grad():
        return torch.cat(
            [
                outputs_of(target.module(given.prepare(part)))
                for part in given.pace.over(f"{name}: answers", parts, len(public.images), size=len)
            ]
        )
