"""Where the audited network saw neither cohort, scores against references tell nobody: fresh draws, uniform p."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "network"))

from small import SIDE, SPEC, blobs, target_of

from reid_audit.budget import unhurried
from reid_audit.preprocess import to_network
from reid_audit.records import References
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.models import Original, pool_of, reference_models
from reid_audit.reference.shelf import Shelf
from reid_audit.reference.signals import signals
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.observed import Near, Observed

DRAWS, PEOPLE = 200, 40
RECIPE = References(count=2, epochs=10, batch=10, rate=1e-2)


def null_p(seed: int) -> float:
    """Rank test of one fresh split, fresh films, a network taught on strangers, and two references of its own."""
    torch.manual_seed(seed)
    strangers, films = blobs(PEOPLE // 2, 2 * seed + 1), blobs(PEOPLE, 2 * seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(20):
        loss = functional.cross_entropy(module(to_network(strangers, SPEC, 1)), torch.arange(PEOPLE // 2) % 2)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    target, rng = target_of(module), np.random.default_rng(seed)
    wanted = torch.from_numpy(rng.integers(0, 2, PEOPLE))
    lesson = Lesson(films, wanted, "softmax", lambda part: to_network(part, SPEC, 1))
    member = rng.permutation(PEOPLE) < PEOPLE // 2
    pool = pool_of(lesson, [str(number) for number in range(PEOPLE)], member)
    original = Original(target, None, SPEC)
    models = reference_models(original, pool, RECIPE, seed=seed, pace=unhurried(), shelf=Shelf())
    own = signals(module, lesson, np.arange(PEOPLE), unhurried(), "films", near=True, mirrored=models.mirrored)
    scores = against_references(Observed(own[0], models.signals, models.inside, Near(own, models.views)))
    return float(stats.mannwhitneyu(scores[member], scores[~member], alternative="greater", method="asymptotic").pvalue)


def test_null_audits_are_uniform() -> None:
    p = np.array([null_p(seed) for seed in range(DRAWS)])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert stats.binomtest(int((p <= 0.05).sum()), DRAWS, 0.05, alternative="greater").pvalue > 1e-3
