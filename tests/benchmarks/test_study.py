"""The study run again: which cells there are, what its own rows say, and that docs/study.md can be continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import study
from benchmarks.lab import pages, slides, study_tables, towards
from benchmarks.lab.agreement import agreement
from benchmarks.lab.targets import Bench
from reid_audit.records import Metric
from reid_audit.score.comparison import Comparison
from reid_audit.score.distribution import Components, pca_kurtosis, pixel_entropy
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("quick", [True, False])
def test_gradient_is_tried_where_the_weights_before_training_are_known_and_nowhere_else(quick: bool) -> None:
    cells = list(study.cells(0, quick=quick))
    assert len(set(cells)) == len(cells)
    assert {cell.kind for cell in cells} >= set(slides.KINDS)
    found = {cell.kind for cell in cells if cell.method == "gradient"}
    assert found
    assert found <= set(study.TUNED)


def test_the_study_s_own_attack_has_a_twin_and_other_methods_have_none() -> None:
    twins = [cell for cell in study.cells(0, quick=False) if cell.twin]
    assert [cell.kind for cell in twins] == list(slides.KINDS)
    assert {cell.method for cell in twins} == {study_tables.STUDY}


def test_seeds_that_agree_are_flagged_and_seeds_that_do_not_are_not() -> None:
    rng = np.random.default_rng(0)
    space, images = fit_match_space(films(60, rng)), films(12, rng)
    untuned = [films(12, rng) for _ in range(3)]
    assert agreement(space, [images] * 3, untuned, rng)["flagged"] == 3
    assert agreement(space, untuned, untuned, rng)["flagged"] == 0
    with pytest.raises(ValueError, match="two seeds"):
        agreement(space, [images], untuned, rng)


def test_the_twin_learns_from_the_other_side() -> None:
    sides: Any = ("target", "holdout", "prior", "space", "match")
    assert vars_of(study.twin_of(Bench(*sides))) == ("holdout", "target", *sides[2:])


def vars_of(bench: Bench) -> tuple[object, ...]:
    return (bench.target, bench.holdout, bench.prior, bench.space, bench.match)


def test_those_by_heart_are_of_few_patients_and_only_the_fine_tuned_have_a_base() -> None:
    found = {kind: study.target_of(kind, 3) for kind in (*slides.KINDS, *study.TUNED)}
    assert {kind for kind, target in found.items() if not target.members} == {"CNN", "ViT"}
    assert {kind for kind, target in found.items() if target.base} == set(study.TUNED)


def test_the_slides_are_copied_whole() -> None:
    assert [len(slides.LIKELY[kind]) for kind in slides.KINDS] == [2, 23, 1, 2]
    assert [len(slides.READINGS[kind]) for kind in slides.KINDS] == [2, 23, 1, 2]


def test_rereading_finds_a_link_where_there_is_one_and_none_where_readings_are_dealt_out() -> None:
    rng = np.random.default_rng(0)
    ages, sexes = rng.integers(20, 90, 40), rng.choice(["F", "M"], 40)
    seen = zip(ages.tolist(), sexes.tolist(), strict=True)
    linked = tuple(slides.Reading(age + 1.0, age, age, sex, sex, sex) for age, sex in seen)
    found = slides.reread(linked, rng)
    assert found.age_p < 0.01
    assert found.sex_p < 0.01
    mixed = tuple(
        slides.Reading(a.age_made, b.age_nearest, b.age_true, a.sex_made, b.sex_nearest, b.sex_true)
        for a, b in zip(linked, linked[1:] + linked[:1], strict=True)
    )
    assert slides.reread(mixed, rng).age_p > 0.01


def test_the_study_s_overfit_cnn_tells_no_more_than_a_guess() -> None:
    found = slides.reread(slides.READINGS["overfit CNN"], np.random.default_rng(0))
    assert found.people < found.rows
    assert found.age_guess < found.age_made
    assert found.sex_made == found.sex_guess
    assert min(found.age_p, found.sex_p) > 0.05


def films(count: int, rng: np.random.Generator) -> torch.Tensor:
    coarse = torch.from_numpy(rng.uniform(0.2, 0.8, (count, 1, 4, 4)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")


def test_copies_of_training_films_are_nearer_to_them_than_to_others_and_other_films_are_not() -> None:
    rng = np.random.default_rng(0)
    training, others, prior = films(20, rng), films(100, rng), films(60, rng)
    people = Owners(np.array([f"P{i}" for i in range(120)]), np.arange(120) < 20)
    compared = Comparison.unlabelled(torch.cat([training, others]), people, fit_match_space(prior))
    sets = {"copied": training.repeat(3, 1, 1, 1), "unrelated": films(60, rng)}
    shown = towards.towards(sets, prior, compared, rng)
    assert shown["copied"].fid[2] <= 0.02
    assert shown["copied"].entropy[2] <= 0.05
    assert shown["unrelated"].fid[2] > 0.02


def test_everybody_at_once_is_measured_as_training_films_are_and_one_film_holds_fewer_greys() -> None:
    rng = np.random.default_rng(0)
    images, patients = films(40, rng), np.array([f"P{i // 2}" for i in range(40)])
    found = towards.by_size(images, patients, (1, 20), rng, draws=3)
    entropy, kurtosis = pixel_entropy(images), pca_kurtosis(images, Components.of(images))[0]
    assert list(found["20"]) == pytest.approx([entropy, kurtosis], abs=1e-3)
    assert found["1"][0] < entropy


def figure(value: float, control: float = 0.4) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "control": control, "n": 12, "p": 0.3}


def cell(**changed: Any) -> dict[str, Any]:
    names = [metric.value for metric in Metric]
    distances = {"entropy": [0.1, 0.2, 0.5], "kurtosis": [0.3, 0.2, 0.7], "fid": [9.0, 9.5, 0.4]}
    return {
        "kind": "overfit CNN", "method": study_tables.STUDY, "seed": 0, "twin": False,
        "budget": "120 x 32", "device": "cpu",
        "found": {name: figure(0.5) for name in names}, "untuned": {name: figure(7.0) for name in names},
        "everyone": {name: figure(0.7) for name in names},
        "towards": {"original": distances, "tuned": distances}, "accuracy": [1.0, 0.6], "cpu_seconds": 3.0,
        "agreement": 0.5, "least": 0.4, "most": 0.6, "sizes": {"20": [7.7, -0.9], "388": [7.8, 0.7]},
        "samples": 0.3, "flagged": 1, "pairs": 6,
    } | changed  # fmt: skip


@pytest.mark.parametrize("name", list(study_tables.TABLES))
def test_a_table_has_a_cell_for_every_column_with_and_without_a_twin(name: str) -> None:
    table = study_tables.TABLES[name]
    method = name if name in (study_tables.AGREEMENT, study_tables.SIZES) else study_tables.STUDY
    for cells in ([cell(method=method)], [cell(method=method), cell(method=study_tables.STUDY, twin=True)]):
        rows = table.rows(cells)
        assert rows
        assert {len(row) for row in rows} == {len(table.head)}
        assert len({row[: table.keys] for row in rows}) == len(rows)


def test_a_count_survives_where_its_interval_lies_above_chance() -> None:
    likely = Metric.LIKELY_SAMPLES.value
    assert study_tables.survives(cell(found={likely: figure(5.0, control=2.0)})) == "yes"
    assert study_tables.survives(cell(found={likely: figure(2.05, control=2.0)})) == "no"
    none = {likely: {"value": 0.0, "n": 32}}
    assert study_tables.survives(cell(untuned=none)) == "no: there are none"


def test_what_was_not_measured_is_a_dash() -> None:
    assert study_tables.value(cell(found={}), Metric.LINKAGE_P) == "-"


@pytest.mark.parametrize("name", [*study_tables.TABLES, "reread"])
def test_the_page_has_the_columns_of_the_benchmark(name: str) -> None:
    head = slides.REREAD_HEAD if name == "reread" else study_tables.TABLES[name].head
    assert pages.rows_of_table(pages.marked(ROOT / "docs" / "study.md", name)[1], head)
