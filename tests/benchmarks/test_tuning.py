"""Variants of the recipe, built from what the attack offers: each lowers the energy it is asked to lower."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small import SPEC, blobs, convnet, memorise, task_of

from benchmarks.tuning import VARIANTS, Case
from reid_audit.attack.objectives import StatisticsObjective
from reid_audit.attack.refinement import MEASURED
from reid_audit.preprocess import to_network


@pytest.fixture(scope="module")
def case() -> Case:
    network = memorise(convnet(), to_network(blobs(4, 1), SPEC, 1))
    return Case(None, None, replace(task_of(network, steps=12, particles=(4,)), samples=128), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {"shadow floors"}))
def test_a_variant_lowers_its_energy(name: str, case: Case) -> None:
    made = VARIANTS[name].run(case, torch.Generator().manual_seed(0))
    assert made.energy_end < made.energy_start
    assert made.images.shape == (4, 1, 12, 12)


def test_shadow_floors_replace_the_ramp(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, energies = to_network(blobs(4, 2), SPEC, 1), []
    for floors in ((1.0, 1.0, 1.0), (0.5, 0.5, 0.5)):
        monkeypatch.setattr(Case, "shadow_floors", lambda _, floors=floors: floors)
        objective = case.objective(MEASURED, shadow=True)
        assert isinstance(objective, StatisticsObjective)
        energies.append(objective.energy(inputs))
    assert torch.allclose(energies[1], 2 * energies[0])
