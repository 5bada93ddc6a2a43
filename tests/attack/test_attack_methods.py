"""Every method through the one interface: it lowers its energy, repeats itself, and stops when told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small import SIDE, SPEC, blobs, convnet, memorise, target_of, task_of

from reid_audit.artefacts.provenance import Declaration
from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.likelihood import recipe, with_metrics
from reid_audit.attack.methods import METHODS
from reid_audit.attack.refinement import hypothesis_groups
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError, PriorError
from reid_audit.observer import Event, SilentObserver, StageEnded, StageStarted
from reid_audit.preprocess import to_network
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.pggan import Generator, PgganPrior, initialise
from reid_audit.records import PriorCard, StoppedBy


def attack(task: AttackTask, method: str, *, seed: int = 0, steps: int | None = None) -> Reconstruction:
    return METHODS[method](
        task, generator=torch.Generator().manual_seed(seed), meter=Meter(None, steps), observer=SilentObserver()
    )


@pytest.fixture(scope="module")
def members() -> torch.Tensor:
    return blobs(4, 1)


@pytest.fixture(scope="module")
def memorised(members: torch.Tensor) -> torch.nn.Module:
    return memorise(convnet(), to_network(members, SPEC, 1))


@pytest.fixture(scope="module")
def pggan() -> PgganPrior:
    network = Generator(16, (16, 8))
    initialise(network, torch.Generator().manual_seed(0))
    card = PriorCard(id="tiny", kind="pggan", sha256="0" * 64, side=8)
    return PgganPrior(card, network.eval().requires_grad_(False))


def test_moments_explains_the_statistics_far_better_than_it_started(memorised: torch.nn.Module) -> None:
    made = attack(task_of(memorised, steps=200, particles=(8,)), "moments")
    assert made.energy_end < 1e-3 * made.energy_start
    assert len(made.trajectory) <= 200


def test_same_seed_same_images_other_seed_others(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, steps=10)
    first, again, other = (attack(task, "moments", seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest


def test_hypotheses_and_shapes(memorised: torch.nn.Module) -> None:
    made = attack(task_of(memorised, steps=5, particles=(2, 3)), "moments")
    assert made.images.shape == (5, 1, SIDE, SIDE)
    assert made.hypotheses.tolist() == [2, 2, 3, 3, 3]
    assert hypothesis_groups((2, 3)).tolist() == [0, 0, 1, 1, 1]
    assert float(made.images.min()) >= 0
    assert float(made.images.max()) <= 1
    assert made.spend.stopped_by is StoppedBy.COMPLETE
    assert made.spend.steps == 5


def test_a_step_ceiling_ends_the_attack_and_says_so(memorised: torch.nn.Module) -> None:
    made = attack(task_of(memorised, steps=50), "moments", steps=7)
    assert (made.spend.stopped_by, made.spend.steps) == (StoppedBy.STEPS, 7)


def test_negative_control_ignores_the_weights(memorised: torch.nn.Module) -> None:
    one, two = attack(task_of(memorised), "prior"), attack(task_of(convnet(seed=5)), "prior")
    assert one.digest == two.digest
    assert not torch.allclose(one.energies, two.energies)


def test_pixel_lowers_its_loss(memorised: torch.nn.Module) -> None:
    made = attack(task_of(memorised, steps=40), "pixel")
    assert made.energy_end < 0.7 * made.energy_start


@pytest.mark.parametrize("method", ["two-stage", "latent"])
def test_generator_methods(method: str, pggan: PgganPrior) -> None:
    side = 8
    films = torch.nn.functional.interpolate(blobs(4, 1), size=(side, side), mode="area")
    module = memorise(convnet(), to_network(films, SPEC, 1))
    task = task_of(module, steps=40, particles=(4,))
    space = fit_space(side)
    made = attack(replace(task, prior=pggan, space=space), method)
    assert made.images.shape == (4, 1, side, side)
    assert made.energy_end < made.energy_start
    assert (made.tuned_samples is not None) == (method == "two-stage")


def fit_space(side: int) -> GaussianPrior:
    films = torch.nn.functional.interpolate(blobs(200, 9), size=(side, side), mode="area")
    return fit_gaussian(films, Declaration("b", ("b",)), torch.Generator().manual_seed(0))


def test_generator_methods_refuse_a_gaussian(memorised: torch.nn.Module) -> None:
    with pytest.raises(PriorError) as refused:
        attack(task_of(memorised), "two-stage")
    assert "prior train" in refused.value.remedy


def test_networks_without_statistics_use_the_head() -> None:
    made = attack(task_of(convnet(normalised=False), steps=40), "moments")
    assert made.energy_end < made.energy_start


def test_the_metric_is_measured_where_there_are_statistics(memorised: torch.nn.Module) -> None:
    assert recipe(task_of(memorised)).measured
    assert not recipe(task_of(convnet(normalised=False))).measured


def test_a_metric_measured_before_gives_the_same_images(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, steps=3)
    assert attack(with_metrics(task), "moments").digest == attack(task, "moments").digest
    assert with_metrics(task_of(convnet(normalised=False))).metrics is None


def test_attack_and_negative_control_have_energies_on_one_scale(memorised: torch.nn.Module) -> None:
    task = task_of(memorised, steps=2, particles=(8,))
    assert attack(task, "prior").energy_end == pytest.approx(attack(task, "moments").energy_start, rel=2.0)


def test_networks_that_remember_nothing_are_refused() -> None:
    headless = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ArchitectureError):
        attack(replace(task_of(convnet()), target=target_of(headless)), "moments")


def test_activations_that_overflow_are_refused() -> None:
    module = convnet()
    with torch.no_grad():
        module.get_parameter("0.weight").mul_(1e30)
    with pytest.raises(ArchitectureError, match="finite"):
        attack(task_of(module), "moments")


def test_stages_are_announced_in_pairs(memorised: torch.nn.Module) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.events: list[Event] = []

        def notice(self, event: Event) -> None:
            self.events.append(event)

    recorder = Recorder()
    METHODS["moments"](
        task_of(memorised, steps=3), generator=torch.Generator(), meter=Meter(None, None), observer=recorder
    )
    assert [type(e) for e in recorder.events if isinstance(e, StageStarted | StageEnded)] == [StageStarted, StageEnded]
