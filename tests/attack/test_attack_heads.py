"""Every kind of head: what its weights say of training films, and an attack that runs or refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import SPEC, blobs, convnet, task_of
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.attack.interface import AttackTask
from reid_audit.attack.methods import METHODS
from reid_audit.audit.canary import Course, with_canaries
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.network.heads import (
    HeadKind,
    answers,
    certainty,
    class_mean_alignment,
    decisions,
    head_stationarity,
    independent,
    labels_of,
    mask_certainty,
    residual,
    summed_loss,
)
from reid_audit.network.reading import Inputs
from reid_audit.observer import SilentObserver
from reid_audit.preprocess import to_network
from reid_audit.score.membership.families import membership_scores

KINDS: tuple[HeadKind, ...] = ("softmax", "sigmoid", "regression")
WIDTH = 3


def trained(kind: HeadKind) -> tuple[Tensor, Tensor, nn.Linear]:
    """Features, labels and a head at the optimum of its weight-decayed loss, found by L-BFGS."""
    torch.manual_seed(1)
    features, head = torch.randn(12, 20), nn.Linear(20, WIDTH)
    labels = torch.arange(12) % (labels_of(kind, WIDTH) or WIDTH)
    wanted = torch.randn(12, WIDTH) if kind == "regression" else answers(labels, WIDTH)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-7)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = summed_loss(kind, head(features), wanted) + 0.05 * head.weight.square().sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return features, labels, head.requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimal_head_is_the_gradient_of_its_training_films_and_of_no_others(kind: HeadKind) -> None:
    features, labels, head = trained(kind)
    others = torch.randn(12, 20, generator=torch.Generator().manual_seed(5))
    assert float(head_stationarity(kind, features, head(features), labels, head)) < 5e-3
    assert float(head_stationarity(kind, others, head(others), labels, head)) > 0.05


def test_each_kind_needs_its_own_residual() -> None:
    features, labels, head = trained("sigmoid")
    own = head_stationarity("sigmoid", features, head(features), labels, head)
    wrong = head_stationarity("softmax", features, head(features), labels.clamp_max(WIDTH - 1), head)
    assert float(wrong) > float(own) + 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_residuals_are_what_autograd_finds(kind: HeadKind) -> None:
    logits = torch.randn(4, WIDTH, requires_grad=True)
    wanted = torch.randn(4, WIDTH) if kind == "regression" else answers(torch.tensor([0, 1, 2, 0]), WIDTH)
    (gradient,) = torch.autograd.grad(summed_loss(kind, logits, wanted), logits)
    expected = wanted - logits if kind == "regression" else residual(kind, logits, wanted)
    assert torch.allclose(-gradient, expected, atol=1e-6)


def test_class_means_point_along_the_rows() -> None:
    features = torch.randn(8, 5)
    labels = torch.arange(8) % 2
    head = nn.Linear(5, 2)
    head.weight.data = torch.stack([features[labels == k].mean(0) - features.mean(0) for k in (0, 1)])
    assert float(class_mean_alignment("softmax", features, labels, head)) == pytest.approx(0.0, abs=1e-4)
    assert float(class_mean_alignment("softmax", features, 1 - labels, head)) == pytest.approx(2.0, abs=1e-4)


def test_answers_and_certainty_of_each_kind() -> None:
    logits = torch.tensor([[3.0, 1.0, -2.0]])
    assert decisions("softmax", logits).tolist() == [[1, 0, 0]]
    assert decisions("sigmoid", logits).tolist() == [[1, 1, 0]]
    assert answers(torch.tensor([3]), 3).tolist() == [[0, 0, 0]]
    assert certainty("softmax", logits).tolist() == [2.0]  # type: ignore[union-attr]
    assert certainty("sigmoid", logits).tolist() == [2.0]  # type: ignore[union-attr]
    assert certainty("regression", logits) is None
    assert certainty("segmentation", logits) is None


def test_masks_are_as_certain_as_their_positions_and_not_as_large_as_they_are() -> None:
    half = torch.tensor([9.0, 9.0, -9.0, -9.0]).reshape(1, 1, 2, 2)
    classes = torch.cat([half, -half], dim=1)
    wide = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert mask_certainty(classes) > mask_certainty(wide)
    assert torch.allclose(mask_certainty(half), mask_certainty(torch.full((1, 1, 2, 2), 9.0)))
    assert mask_certainty(half) > mask_certainty(half / 9)


def test_findings_that_are_mostly_absent_do_not_look_like_exclusive_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(64, 14, generator=generator)
    assert not independent(classes)
    assert not independent(8.0 * functional.one_hot(torch.arange(64) % 14, 14).float())
    assert independent(classes - 3.0)
    assert not independent(classes[:, :2] - 3.0)


class Dense(nn.Module):
    """An encoder with statistics and one decision per position."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*list(convnet().children())[:6])
        self.outputs = nn.Conv2d(48, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.outputs(self.encoder(x))
        return found


def network(kind: HeadKind, normalised: bool) -> nn.Module:
    if kind == "segmentation":
        return Dense()
    body = list(convnet(normalised=normalised).children())
    return nn.Sequential(*body[:-1], *([] if kind == "features" else [nn.Linear(64, 1 if kind == "regression" else 3)]))


def task(kind: HeadKind, normalised: bool) -> AttackTask:
    made = task_of(network(kind, normalised), steps=15, particles=(4, 5))
    return replace(made, target=replace(made.target, match=made.target.match.model_copy(update={"head": kind})))


@pytest.mark.parametrize("kind", [*KINDS, "segmentation", "features"])
def test_every_head_over_statistics_is_attacked_and_keeps_its_canaries(kind: HeadKind) -> None:
    made = task(kind, True)
    found = METHODS["moments"](
        made, generator=torch.Generator().manual_seed(0), meter=Meter(None, None), observer=SilentObserver()
    )
    assert found.energy_end < found.energy_start
    films = to_network(blobs(6, 1), SPEC, 1)
    planted = with_canaries(made.target, films, torch.Generator().manual_seed(0), course=Course(3, 1e-2))
    moved = [not torch.equal(a, b) for a, b in zip(made.target.module.parameters(), planted.module.parameters())]  # noqa: B905
    assert all(moved) or kind == "features"


@pytest.mark.parametrize("kind", KINDS)
def test_without_statistics_the_head_is_all_there_is(kind: HeadKind) -> None:
    made = task(kind, False)
    found = METHODS["moments"](
        made, generator=torch.Generator().manual_seed(0), meter=Meter(None, None), observer=SilentObserver()
    )
    assert found.energy_end < found.energy_start
    assert bool(found.energies.isfinite().all())
    scores = membership_scores(made.target, Inputs(blobs(6, 1), made.inputs), np.full(6, "")).scores
    assert set(scores) == ({"consistency", "remoteness"} if kind == "regression" else {"stationarity", "margin"})


@pytest.mark.parametrize("kind", ["segmentation", "features"])
def test_without_statistics_and_classifier_there_is_nothing_to_go_by(kind: HeadKind) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    made = task(kind, True)
    with pytest.raises(ArchitectureError) as refused:
        METHODS["moments"](
            replace(made, target=replace(made.target, module=module)),
            generator=torch.Generator(), meter=Meter(None, None), observer=SilentObserver(),
        )  # fmt: skip
    assert refused.value.closest
    assert refused.value.remedy
