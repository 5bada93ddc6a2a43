"""A table on a page keeps what the new run did not measure, and loses nothing in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.lab.pages import merged, publish, rows_of_table

HEAD = ("target", "method", "p")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text("Above.\n<!-- table -->\n<!-- /table -->\nBelow.\n", encoding="utf-8")
    return path


def test_new_rows_replace_old_ones_of_the_same_cell_and_the_rest_stays_in_order(page: Path) -> None:
    publish(HEAD, [("net-16", "moments", "0.5"), ("net-8", "moments", "0.1")], page, keys=2)
    publish(HEAD, [("net-8", "prior", "0.9"), ("net-16", "moments", "0.2")], page, keys=2)
    text = page.read_text(encoding="utf-8")
    assert rows_of_table(text, HEAD) == [
        ("net-8", "moments", "0.1"),
        ("net-8", "prior", "0.9"),
        ("net-16", "moments", "0.2"),
    ]
    assert text.startswith("Above.\n")
    assert text.endswith("\nBelow.\n")


def test_what_stands_above_is_written_from_kept_rows_too(page: Path) -> None:
    for name in ("a", "b"):
        publish(HEAD, [(name, "m", "1")], page, keys=2, above=lambda rows: f"{len(rows)} rows")
    assert "<!-- table -->\n2 rows\n\n| target |" in page.read_text(encoding="utf-8")


def test_rows_of_other_columns_are_refused_and_the_page_is_left_alone(page: Path) -> None:
    publish(HEAD, [("a", "m", "1")], page, keys=2)
    before = page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="other columns"):
        publish((*HEAD, "seconds"), [("a", "m", "1", "3")], page, keys=2)
    assert page.read_text(encoding="utf-8") == before


def test_a_page_may_hold_several_tables(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("<!-- one -->\n<!-- /one -->\n<!-- two -->\n<!-- /two -->\n", encoding="utf-8")
    publish(HEAD, [("a", "m", "1")], path, keys=2, mark="two")
    first, second = path.read_text(encoding="utf-8").split("<!-- two -->")
    assert rows_of_table(first, HEAD) == []
    assert rows_of_table(second, HEAD) == [("a", "m", "1")]


def test_numbers_sort_by_value() -> None:
    names = [row[0] for row in merged([("n-100",), ("n-8",)], [("n-16",)], 1)]
    assert names == ["n-8", "n-16", "n-100"]
