"""Reference models: from scratch, blind to the cohort, stopped in time, kept, and good for telling members."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "network"))

from small import SPEC, blobs, convnet, target_of

from reid_audit.arch.target import Target
from reid_audit.budget import Meter, Pace, unhurried
from reid_audit.network.answers import findings_of, log_odds, own_answers, taught_answers
from reid_audit.observer import Event, Noted
from reid_audit.policy import policy_template
from reid_audit.preprocess import to_network
from reid_audit.records import References
from reid_audit.reference.fresh import fresh
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.models import Original, Pool, ReferenceModels, goal_of, level_of, pool_of, reference_models
from reid_audit.reference.recipe import (
    ATTENDING_EPOCHS,
    ATTENDING_RATE,
    EPOCHS,
    RATE,
    Bearing,
    attends,
    bearing,
    epochs_of,
    rate_of,
    settled,
)
from reid_audit.reference.shelf import Shelf, key_of
from reid_audit.reference.signals import signals
from reid_audit.reference.training import Goal
from reid_audit.score.calibration import auc
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.observed import Near, Observed


class Kept:
    """What was noted."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.message)


def left_out(observer: Kept) -> list[str]:
    return [line for line in observer.said if "is not used" in line and "[references]" in line]


PEOPLE = 60
FEW = References(when="when-possible", count=2, batch=16, epochs=30, rate=3e-3)


def lesson_of(images: Tensor) -> Lesson:
    """Labels by chance: whoever answers them right has learned them by heart."""
    wanted = torch.randint(0, 2, (len(images),), generator=torch.Generator().manual_seed(5))
    return Lesson(images, wanted, "softmax", lambda part: to_network(part, SPEC, 1))


def learned(images: Tensor, wanted: Tensor, *, seed: int = 1, steps: int = 150) -> Target:
    module = convnet(seed, normalised=False).train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = functional.cross_entropy(module(to_network(images, SPEC, 1)), wanted)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return target_of(module)


def pooled(members_first: bool = True) -> tuple[Pool, NDArray[np.bool_]]:
    lesson = lesson_of(blobs(PEOPLE, 3))
    member = np.arange(PEOPLE) < PEOPLE // 2
    if not members_first:
        member = ~member
    return pool_of(lesson, [f"{'TH'[int(not m)]}{i}" for i, m in enumerate(member)], member), member


@pytest.fixture(scope="module")
def target() -> Target:
    lesson = lesson_of(blobs(PEOPLE, 3))
    return learned(lesson.images[: PEOPLE // 2], lesson.wanted[: PEOPLE // 2])


@pytest.fixture(scope="module")
def models(target: Target) -> ReferenceModels:
    return made(target)


def made(
    target: Target,
    *,
    recipe: References = FEW,
    shelf: Shelf | None = None,
    pace: Pace | None = None,
    first: bool = True,
) -> ReferenceModels:
    pool, _ = pooled(first)
    return reference_models(
        Original(target, None, SPEC), pool, recipe, seed=0, pace=pace or unhurried(), shelf=shelf or Shelf()
    )


def test_a_reference_knows_its_part_and_no_other(models: ReferenceModels) -> None:
    assert models.inside.sum(axis=1).tolist() == [PEOPLE // 2, PEOPLE // 2]
    assert (models.inside.sum(axis=0) == 1).all()
    for inside, said in zip(models.inside, models.signals, strict=True):
        assert auc(said[inside], said[~inside]) > 0.7


def test_members_are_said_beside_references(target: Target, models: ReferenceModels) -> None:
    pool, member = pooled()
    own = signals(target.module, pool.lesson, np.arange(PEOPLE), unhurried(), "films", near=True, mirrored=False)
    found = against_references(Observed(own[0], models.signals, models.inside, Near(own, models.views)))
    assert auc(found[member], found[~member]) > 0.7


def test_who_is_in_training_changes_nothing(target: Target, models: ReferenceModels) -> None:
    swapped = made(target, first=False)
    assert (swapped.inside == models.inside).all()
    assert swapped.signals == pytest.approx(models.signals)


def test_what_was_trained_once_is_kept(target: Target, models: ReferenceModels, tmp_path: Path) -> None:
    first = made(target, shelf=Shelf(tmp_path))
    again = made(target, shelf=Shelf(tmp_path))
    assert min(first.epochs) > 0
    assert again.epochs == (0, 0)
    assert (again.signals == first.signals).all()
    files = sorted(tmp_path.iterdir())
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600, 0o600]
    files[0].write_bytes(b"nothing")
    assert min(made(target, shelf=Shelf(tmp_path)).epochs) == 0
    assert max(made(target, shelf=Shelf(tmp_path)).epochs) == 0
    other = made(target, shelf=Shelf(tmp_path), recipe=FEW.model_copy(update={"decay": 0.1}))
    assert min(other.epochs) > 0


def test_what_began_with_a_base_is_kept_for_that_base_alone(target: Target) -> None:
    def key(base: nn.Module | None) -> str:
        return key_of(target, base, SPEC, FEW, films="f" * 64, goal=None, part=(0, 0))

    one, other = convnet(1), convnet(2)
    assert len({key(None), key(one), key(other)}) == 3
    assert key(one) == key(one)


def test_another_network_of_the_same_name_and_shapes_has_other_references(target: Target) -> None:
    def key(last: nn.Module) -> str:
        module = nn.Sequential(convnet(1), last)
        return key_of(replace(target, module=module), None, SPEC, FEW, films="f" * 64, goal=None, part=(0, 0))

    assert key(nn.ReLU()) == key(nn.ReLU())
    assert key(nn.ReLU()) != key(nn.Tanh())


def test_without_time_there_are_none(target: Target) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    assert made(target, pace=Pace(Meter(2.0, None, Clock()))).count == 0
    observer = Kept()
    some = made(target, pace=Pace(Meter(900.0, None, Clock()), observer), recipe=FEW.model_copy(update={"count": 64}))
    assert 0 < some.count < 64
    assert (some.count + len(left_out(observer))) % 2 == 0


def test_a_reference_that_learned_nothing_is_left_out_and_named(target: Target) -> None:
    observer = Kept()
    idle = FEW.model_copy(update={"rate": 1e-9})
    assert made(target, recipe=idle, pace=Pace(Meter(None, None), observer)).count == 0
    assert len(left_out(observer)) == 2


def test_networks_with_attention_learn_slowly_unless_a_rate_is_given() -> None:
    plain, attending = convnet(1), nn.Sequential(nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2))
    left_open, given = References(), References(rate=0.5, epochs=7)
    assert rate_of(left_open, attending) < rate_of(left_open, plain)
    assert epochs_of(left_open, attending) > epochs_of(left_open, plain)
    assert {(rate_of(given, each), epochs_of(given, each)) for each in (plain, attending)} == {(0.5, 7)}


def test_the_template_names_the_rates_and_epochs_that_are_taken() -> None:
    template = policy_template()
    assert f"# rate = {RATE}  # not given: {RATE}, with self-attention {ATTENDING_RATE}" in template
    assert f"# epochs = {EPOCHS}  # not given: {EPOCHS}, with self-attention {ATTENDING_EPOCHS}" in template


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "deit_tiny_patch16_224"])
def test_transformers_are_known_by_their_layers(name: str) -> None:
    with torch.device("meta"):
        assert attends(timm.create_model(name))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "convnext_atto", "densenet121"])
def test_convolutional_networks_are_known_by_theirs(name: str) -> None:
    with torch.device("meta"):
        assert not attends(timm.create_model(name))


def test_training_ends_where_a_reference_is_as_sure_as_the_network(target: Target) -> None:
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = target.module

        def forward(self, x: Tensor) -> Tensor:
            said: Tensor = 0.1 * self.inner(x)
            return said

    pool, _ = pooled()
    loud = bearing(target.module, pool.lesson, unhurried(), "films")
    quiet = bearing(Halved(), pool.lesson, unhurried(), "films")
    assert loud is not None
    assert quiet is not None
    assert quiet.odds == pytest.approx(0.1 * loud.odds, rel=1e-4)
    assert quiet.errors == loud.errors
    assert goal_of(Bearing(odds=1.3, expected=0.2, errors=0.131)) == Goal(1.25, 0.14)
    assert level_of(1.3) == 1.25
    assert level_of(0.99) == 0.8


def test_a_network_that_errs_as_it_expects_was_trained_with_augmentation() -> None:
    asked = References()
    assert settled(asked, Bearing(odds=1.9, expected=0.2, errors=0.21)).augmentation == "moved"
    assert settled(asked, Bearing(odds=6.9, expected=0.03, errors=0.13)).augmentation == "none"
    assert settled(asked, Bearing(odds=6.9, expected=0.03, errors=0.0)).augmentation == "none"
    assert settled(asked, Bearing(odds=1.9, expected=0.2, errors=0.0)).augmentation == "moved"
    assert settled(asked, None).augmentation == "none"
    chosen = References(augmentation="moved")
    assert settled(chosen, Bearing(odds=6.9, expected=0.03, errors=0.13)) == chosen


def test_a_fresh_network_has_forgotten_everything_and_remembers_its_base() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.gamma = nn.Parameter(torch.full((1, 1, 4), 7.0)), nn.Parameter(torch.full((4,), 7.0))
            self.norm, self.inner = nn.BatchNorm1d(4), nn.Linear(4, 4)

    trained = Tokens()
    with torch.no_grad():
        for value in (*trained.parameters(), *trained.buffers()):
            value.fill_(7)
    made_anew = fresh(trained)
    for name, value in made_anew.state_dict().items():
        assert not (value == 7).any(), name
    assert (trained.token == 7).all()
    base = nn.ModuleDict({"inner": nn.Linear(4, 4)})
    started = fresh(trained, base).state_dict()
    assert torch.equal(started["inner.weight"], base.state_dict()["inner.weight"])


def test_log_odds_of_every_head() -> None:
    outputs = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    softmax = log_odds("softmax", outputs, torch.tensor([0, 1]))
    chance = torch.softmax(outputs, 1)[[0, 1], [0, 1]]
    assert torch.allclose(softmax, (chance / (1 - chance)).log(), atol=1e-6)
    yes = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(log_odds("sigmoid", outputs, yes), torch.tensor([2.0 / 3, 0.0]))
    near, far = log_odds("regression", torch.tensor([[1.0], [1.0]]), torch.tensor([[1.1], [3.0]]))
    assert near > far
    dense = torch.randn(2, 3, 4, 4)
    answers = own_answers("segmentation", dense)
    assert answers.shape == (2, 4, 4)
    assert (log_odds("segmentation", dense, answers) > -0.7).all()


def test_words_become_answers_of_every_head() -> None:
    odd = np.array(["a", "b"] * 4)
    one = torch.tensor([[3.0], [-3.0]] * 4)
    taught = taught_answers("softmax", one, odd)
    assert taught is not None
    assert taught[:, 0].tolist() == [1.0, 0.0] * 4
    numbers = taught_answers("regression", one, np.array(["70", "10"] * 4))
    assert numbers is not None
    assert torch.allclose(numbers, one, atol=1e-5)
    assert taught_answers("regression", one, odd) is None
    assert taught_answers("segmentation", torch.randn(8, 2, 4, 4), odd) is None


def test_a_word_that_names_several_findings_is_an_answer_to_each() -> None:
    outputs = 4.0 * torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]])
    words = np.array(["Mass", "Effusion|Mass", "No Finding", "Effusion"])
    taught = taught_answers("sigmoid", outputs, words)
    assert taught is not None
    assert taught.tolist() == [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    assert findings_of("Effusion; Mass,Edema") == {"Effusion", "Mass", "Edema"}
    assert findings_of("['Effusion', \"Mass\"]") == findings_of("{Mass, Effusion}") == {"Effusion", "Mass"}
    assert findings_of("[]") == frozenset()
    assert findings_of("Mass [left]") == {"Mass [left]"}


def test_an_output_without_a_finding_keeps_its_own_answers() -> None:
    outputs = torch.tensor([[3.0, -3.0, 2.0], [-3.0, 3.0, -2.0], [3.0, -3.0, -2.0]])
    taught = taught_answers("sigmoid", outputs, np.array(["a", "b", "a"]))
    assert taught is not None
    assert taught.tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("words", [["a", "b|c|d|e"], ["a", "a"], ["a", ""]])
def test_findings_that_do_not_fit_the_outputs_are_no_answers(words: list[str]) -> None:
    assert taught_answers("sigmoid", torch.randn(2, 3), np.array(words)) is None
