"""The benchmark of heads: its encoder is drawn to one place by films of one patient, its cohorts are balanced."""

from __future__ import annotations

import torch

from benchmarks.lab.contrastive import contrastive_loss
from benchmarks.mlp_head import CELLS, RECIPES, Embedded


def test_the_loss_is_least_where_films_of_a_patient_have_one_embedding() -> None:
    patients = torch.tensor([0, 0, 1, 1, 2, 2])
    apart = torch.eye(3).repeat_interleave(2, dim=0)
    mixed = torch.eye(3)[[0, 1, 1, 2, 2, 0]]
    assert contrastive_loss(apart, patients) < 0.01
    assert contrastive_loss(mixed, patients) > 1.0


def test_as_many_of_either_sex_are_drawn_and_other_seeds_draw_others() -> None:
    films = Embedded(torch.arange(20.0)[:, None], torch.tensor([0] * 14 + [1] * 6))
    few = films.some(8, 0)
    assert few.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(few.values, films.some(8, 0).values)
    assert not torch.equal(few.values, films.some(8, 1).values)


def test_every_cell_has_a_recipe() -> None:
    assert {name for name, _ in CELLS} == set(RECIPES)
