"""Membership of networks whose answers are neither certain nor uncertain: their embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.errors import AuditError
from reid_audit.network.heads import HeadKind
from reid_audit.network.reading import Inputs
from reid_audit.records import ArchMatch
from reid_audit.score.calibration import auc
from reid_audit.score.membership.consistency import VIEWS, consistency, mirrored, noisy
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.remoteness import remoteness

FILMS = 64


def blobs(count: int, seed: int) -> Tensor:
    """[N, 1, 16, 16] in [0, 1]"""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic", align_corners=False).clamp(0, 1)


def target(kind: HeadKind, *, head: bool = True) -> Target:
    """A small network with BatchNorm that saw a few images, of random weights."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder.train()(blobs(8, 9))
    module = nn.Sequential(*encoder, nn.Linear(8, 2)) if head else encoder
    match = ArchMatch(
        library="none",
        family="none",
        name="none",
        coverage=1.0,
        head=kind,
        classes=2 if head else 0,
        channels=1,
        side=16,
    )
    return Target(module.eval(), match)


@pytest.mark.parametrize("kind", ["features", "regression"])
def test_embeddings_are_asked_where_answers_have_no_certainty(kind: HeadKind) -> None:
    asked = target(kind, head=kind != "features")
    found = membership_scores(asked, Inputs(blobs(12, 0), lambda few: few), np.full(12, ""))
    assert set(found.scores) == {"moments", "consistency", "remoteness"}
    assert all(scores.shape == (12,) and np.isfinite(scores).all() for scores in found.scores.values())


def test_a_classifier_is_asked_for_its_answers_alone() -> None:
    found = membership_scores(target("softmax"), Inputs(blobs(12, 0), lambda few: few), np.full(12, ""))
    assert set(found.scores) == {"moments", "margin"}


def test_scores_do_not_depend_on_which_films_are_asked_together() -> None:
    images = blobs(70, 0)
    whole = membership_scores(target("features", head=False), Inputs(images, lambda few: few), np.full(70, ""))
    turned = Inputs(images, lambda few: few, torch.arange(69, -1, -1))
    again = membership_scores(target("features", head=False), turned, np.full(70, ""))
    for name in ("consistency", "remoteness"):
        assert again.scores[name][::-1] == pytest.approx(whole.scores[name], abs=1e-4)


def test_views_keep_shape_and_are_no_copies() -> None:
    images = blobs(3, 0)
    for view in VIEWS:
        assert view(images).shape == images.shape
        assert not torch.equal(view(images), images)
    assert torch.equal(mirrored(mirrored(images)), images)
    assert torch.equal(noisy(images), noisy(images))


def test_equal_views_are_consistent_and_the_middle_is_near() -> None:
    embeddings = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    assert consistency(embeddings, [embeddings, 3 * embeddings]).tolist() == pytest.approx([1.0] * 10, abs=1e-5)
    assert consistency(embeddings, [-embeddings]).tolist() == pytest.approx([-1.0] * 10, abs=1e-5)
    ends = torch.cat([embeddings.mean(0, keepdim=True), embeddings])
    assert int(remoteness(ends).argmin()) == 0


def test_an_encoder_that_was_trained_by_heart_gives_its_films_away_without_its_head() -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    encoder, head = nn.Sequential(*layers), nn.Linear(32, 2)
    members, others = blobs(FILMS, 1), blobs(FILMS, 2)
    labels = torch.arange(FILMS) % 2
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(400):
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(head(encoder(members)), labels))
        optimiser.step()
    asked = replace(target("features", head=False), module=encoder.eval())
    inputs = Inputs(torch.cat([members, others]), lambda few: few)
    scores = membership_scores(asked, inputs, np.full(2 * FILMS, "")).scores
    assert auc(scores["remoteness"][:FILMS], scores["remoteness"][FILMS:]) > 0.6


def test_a_film_without_a_finite_answer_ends_the_audit_instead_of_counting_as_unknown() -> None:
    """One NaN is less than every threshold, and in a bootstrap it is all of them: a rate of 0.6 became 0."""
    known, films = target("softmax"), blobs(12, 0)
    films[5] = 0.5  # blank
    standardised = Inputs(films, lambda few: (few - few.mean((2, 3), keepdim=True)) / few.std((2, 3), keepdim=True))
    with pytest.raises(AuditError, match="no finite number for 1 of 12 films") as refused:
        membership_scores(known, standardised, np.full(12, ""))
    assert "margin: 1" in refused.value.closest
