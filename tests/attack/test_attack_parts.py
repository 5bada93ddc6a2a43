"""Schedules, canaries, preprocessing from statistics, membership scores."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from small import SPEC, blobs, convnet, memorise, target_of

from reid_audit.arch.target import Target
from reid_audit.attack.schedules import cosine_ramp, noise_floors, tempering
from reid_audit.audit.canary import ADAM, DESCENT, KEPT, KNOWN, Course, Planting, with_canaries
from reid_audit.network.answers import log_odds
from reid_audit.network.batchnorm import image_moments, untouched_layers
from reid_audit.network.heads import logits_of
from reid_audit.network.reading import Inputs
from reid_audit.network.stem import read_stems
from reid_audit.preprocess import HALF, IMAGENET, UNIT, from_network, to_network
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.loss import losses
from reid_audit.score.membership.margin import margins


def test_schedules_run_from_end_to_end() -> None:
    rates = cosine_ramp(100, peak=0.1)
    assert len(rates) == 100
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.002)
    heats = tempering(100, start=1e4, end=0.1, share=0.8)
    assert heats[0] == pytest.approx(1e4)
    assert heats[79:] == pytest.approx([0.1] * 21)
    assert all(a >= b for a, b in itertools.pairwise(heats))
    assert noise_floors(3, first=1e-6, last=1e-2) == pytest.approx([1e-6, 1e-4, 1e-2])
    assert cosine_ramp(1, peak=0.1) == [0.1]
    assert noise_floors(1) == [1e-6]


def test_canaries_are_remembered_and_the_original_is_untouched() -> None:
    target = target_of(convnet())
    before = copy.deepcopy(target.module.state_dict())
    inputs = to_network(blobs(8, 3), SPEC, 1)
    changed = with_canaries(target, inputs, torch.Generator().manual_seed(0))
    assert all(torch.equal(before[key], value) for key, value in target.module.state_dict().items())
    first = image_moments(changed.module, inputs)[0]
    assert torch.allclose(first.first.mean(0), torch.zeros(32), atol=0.02)
    assert not changed.module.training


def test_statistics_that_were_never_updated_are_no_evidence_and_give_the_canaries_none() -> None:
    module = convnet()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
    target, inputs = target_of(module), Inputs(blobs(8, 3), lambda part: to_network(part, SPEC, 1))
    changed = with_canaries(target, inputs.prepare(inputs.images[:]), torch.Generator().manual_seed(0))
    for network in (target, changed):
        scores = membership_scores(network, inputs, np.full(len(inputs), "")).scores
        assert "moments" not in scores
        assert "stationarity" in scores
        assert [name for name, _ in untouched_layers(network.module)] == ["1", "4", "7"]
    assert read_stems(target, blobs(64, 4)) is None


@pytest.mark.parametrize("course", [Course(3, 1e-3), Course(3, 3e-1, "sgd")], ids=["adam", "sgd"])
def test_a_copy_without_statistics_goes_on_until_it_knows_its_canaries(course: Course) -> None:
    target, films = target_of(convnet(normalised=False)), to_network(blobs(8, 3), SPEC, 1)
    wanted = torch.arange(8) % 2

    def least(network: Target) -> float:
        return float(log_odds("softmax", network.module(films).detach(), wanted).min())

    planted = with_canaries(target, films, torch.Generator().manual_seed(0), wanted=wanted, course=course)
    assert least(target) < 0 < KNOWN <= least(planted) + 0.1


def test_a_copy_with_canaries_keeps_its_answers_to_ordinary_images() -> None:
    """Else it would be sure of everything, and the canaries be lost among the others."""
    target, films = target_of(convnet(normalised=False)), to_network(blobs(8, 3), SPEC, 1)
    ordinary, unseen = (to_network(blobs(40, seed), SPEC, 1) for seed in (5, 6))
    taught = torch.arange(8) % 2

    def moved(kept: torch.Tensor | None) -> float:
        copy = with_canaries(target, films, torch.Generator(), wanted=taught, ordinary=kept, course=Course(rate=1e-3))
        return float((copy.module(unseen) - target.module(unseen)).square().mean())

    assert moved(ordinary) < 0.5 * moved(None)


def test_the_most_that_planting_takes_is_known_beforehand() -> None:
    """Two equal films that are taught opposite answers are never known."""
    target, film = target_of(convnet(normalised=False)), to_network(blobs(1, 3), SPEC, 1)
    seen = list[int]()

    def count(module: torch.nn.Module, images: tuple[torch.Tensor], _: torch.Tensor) -> None:
        seen.extend([len(images[0])] * module.training)

    target.module.register_forward_hook(count)
    ordinary = to_network(blobs(2 * KEPT, 5), SPEC, 1)
    wanted = torch.tensor([0, 1, 0, 1])
    for course in (ADAM, DESCENT):
        with_canaries(
            target, film.repeat(4, 1, 1, 1), torch.Generator(), wanted=wanted, ordinary=ordinary, course=course
        )
    assert sum(seen) == Planting.of(2, statistics=False, taught=True).shown
    assert Planting.of(2, statistics=True, taught=True) == Planting.of(2, statistics=False, taught=False)


def test_value_preprocessing_inverts() -> None:
    films = blobs(4, 6)
    for spec in (UNIT, HALF, HALF.model_copy(update={"invert": True})):
        assert torch.allclose(from_network(to_network(films, spec, 1), spec), films, atol=1e-6)
    assert to_network(films, IMAGENET, 3).shape == (4, 3, 12, 12)


def test_members_are_decided_more_firmly() -> None:
    members = to_network(blobs(8, 1), SPEC, 1)
    target = target_of(memorise(convnet(), members, steps=200))
    own, others = (margins("softmax", target.module(films)) for films in (members, to_network(blobs(40, 7), SPEC, 1)))
    assert own is not None
    assert others is not None
    assert float(own.min()) > float(others.median())


def test_logits_of_every_output_form() -> None:
    grid = torch.randn(2, 3, 4, 4)
    assert torch.allclose(logits_of({"out": grid}), grid.mean((2, 3)))
    assert logits_of((torch.zeros(2, 5),)).shape == (2, 5)
    with pytest.raises(TypeError):
        logits_of("nothing")


def test_losses_find_out_which_word_means_which_output() -> None:
    """Films in training lose little, others much, whatever the classes are called; nobody says who was in training."""
    members, others = (to_network(blobs(n, seed), SPEC, 1) for n, seed in ((12, 3), (12, 4)))
    target = target_of(memorise(convnet(normalised=False), members))
    for words in (("ill", "well"), ("well", "ill"), ("0", "1")):
        said = np.array([words[i % 2] for i in range(24)])
        found = losses("softmax", target.module(torch.cat([members, others])), said)
        assert found is not None
        assert found[:12].mean() < 0.2 < found[12:].mean()
        assert float(found.min()) >= 0


def test_numbers_that_were_learned_by_heart_lie_on_a_line_of_their_own() -> None:
    """Half of the films are answered with their age exactly, on a scale that the file does not tell, the others not."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 80, 80)
    said = (ages - 50) / 20 + np.where(np.arange(80) < 40, 0.0, rng.normal(0, 0.8, 80))
    found = losses("regression", torch.from_numpy(said)[:, None], np.array([f"{age:.3f}" for age in ages]))
    assert found is not None
    assert found[:40].max() < 1e-4 < found[40:].median()


def test_losses_need_a_label_for_every_film_and_an_output_for_every_label() -> None:
    logits = torch.randn(6, 2)
    assert losses("softmax", logits, np.array(["a", "b", "a", "b", "a", ""])) is None
    assert losses("softmax", logits, np.array(["a", "b", "c", "b", "a", "c"])) is None
    assert losses("softmax", logits, np.full(6, "")) is None
    assert losses("regression", logits, np.array(["a", "b"] * 3)) is None
