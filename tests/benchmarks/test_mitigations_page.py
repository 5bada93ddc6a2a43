"""The page of mitigations, its picture and what reports advise by say the same, and the command fills every row."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from benchmarks import mitigations
from benchmarks.lab.pareto import pareto

PAGE = Path(__file__).parents[2] / "docs" / "mitigations.md"


def test_the_picture_and_the_advice_are_of_the_rows_of_the_page() -> None:
    rows = mitigations.of_page(PAGE)
    assert PAGE.with_suffix(".svg").read_text(encoding="utf-8") == pareto(mitigations.points(rows))
    assert mitigations.ADVICE.read_text(encoding="utf-8") == mitigations.advice_of(rows)


def test_the_command_measures_every_row_of_the_page(tmp_path: Path) -> None:
    asked = Namespace(out=tmp_path / "none.jsonl", only=[""], mitigations=None)
    measured = {(network.name, name) for network, name in mitigations.pending(asked)}
    assert measured == {(row["network"], row["mitigation"]) for row in mitigations.of_page(PAGE)}


def test_a_part_that_is_asked_for_is_what_is_measured(tmp_path: Path) -> None:
    asked = Namespace(out=tmp_path / "none.jsonl", only=["heart-388", "care"], mitigations=["none", "round"])
    measured = [(network.name, name) for network, name in mitigations.pending(asked)]
    assert measured == [("heart-388", "none"), ("care-388", "none"), ("heart-388", "round")]
