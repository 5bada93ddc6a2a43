"""Which cells the power benchmark runs, and that docs/power.md can be continued by it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks import confusion, power
from benchmarks.lab import pages
from benchmarks.lab.targets import Target

ROOT = Path(__file__).parents[2]


def options(**changed: Any) -> argparse.Namespace:
    chosen = {"grid": "full", "only": [""], "methods": None, "steps": 300, "particles": [16, 32]}
    return argparse.Namespace(**(chosen | changed))


def cells(rows: list[dict[str, Any]], **changed: Any) -> set[tuple[str, str]]:
    return {(target.name, method) for target, method in power.pending(options(**changed), rows)}


def test_names_tell_all_targets_of_a_grid_apart() -> None:
    for targets, _ in power.GRIDS.values():
        assert len({target.name for target in targets}) == len(targets)
    assert Target("resnet18", 64, 8, 1, base=True).name == "resnet18-64-finetuned-8-1"
    assert Target("resnet18", 64, 0, 0, epochs=True).name == "resnet18-64-epochs-0"


def test_gradient_is_tried_where_a_base_is_known_and_nowhere_else() -> None:
    found = {name for name, method in cells([]) if method == "gradient"}
    assert found
    assert all("-finetuned-" in name for name in found)


def test_cells_can_be_chosen_by_target_and_method() -> None:
    assert cells([], only=["resnet18-64-overfit-8-0"], methods=["moments"]) == {("resnet18-64-overfit-8-0", "moments")}


def test_finished_cells_are_not_run_again_but_another_budget_is() -> None:
    chosen = {"only": ["resnet18-64-overfit-8-0"], "methods": ["moments"]}
    done = [{"target": "resnet18-64-overfit-8-0", "method": "moments", "budget": "300 x 16 + 32"}]
    assert cells(done, **chosen) == set()
    assert cells(done, **chosen, particles=[64]) == {("resnet18-64-overfit-8-0", "moments")}


@pytest.mark.parametrize(
    ("page", "head"),
    [("power.md", tuple(name for name, _ in power.COLUMNS)), ("confusion.md", confusion.HEAD)],
)
def test_the_page_has_the_columns_of_the_benchmark(page: str, head: tuple[str, ...]) -> None:
    assert pages.rows_of_table(pages.marked(ROOT / "docs" / page, "table")[1], head)
