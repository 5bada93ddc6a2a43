"""Groups of patients in the public report: small ones and tell-tale words are not in it."""

from __future__ import annotations

import pytest
import results

from reid_audit.report import publish, render
from reid_audit.report.publication.evidence import hidden_cells


def test_small_groups_and_names_stay_inside() -> None:
    public = publish(results.passing())
    shown = [(group.by, group.name, group.patients) for group in public.subgroups]
    assert shown == [("sex", "F", 171), ("sex", "M", 217), ("label", "other word", 40)]
    for form in ("json", "markdown", "html"):
        assert "Ward 7" not in render(public, form)
        assert "80 to 99" not in render(public, form)


def test_every_format_shows_the_groups() -> None:
    public = publish(results.passing())
    assert "| Sex: F | 171 | 1.8 % | 0.4 % to 5 % |" in render(public, "markdown")
    assert "Sex: F" in render(public, "html")


def test_a_pass_names_its_references() -> None:
    assert publish(results.passing()).verdict.reason.endswith("Membership was scored beside 2 reference models.")
    assert publish(results.failing()).references is None


def test_fifths_of_few_patients_are_hidden_and_nothing_else_says_how_many_they_are() -> None:
    public = publish(results.passing()).over_references
    assert public is not None
    assert public.counts == (None, None, 180, 260, 290)
    shown = render(publish(results.passing()), "html").replace("\u00a0", " ")
    assert "60 to 80 % of the pairs: 260 patients" in shown
    assert "0 to 20 % of the pairs: not shown, 21 were all alike" in shown
    assert publish(results.failing()).over_references is None


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [
        ((10, 46, 180, 260, 290), set()),
        ((7, 46, 180, 260, 290), {0, 1}),
        ((1, 8, 180, 260, 290), {0, 1, 2}),
        ((0, 0, 180, 260, 290), {0, 1, 2}),
        ((6, 290, 180, 5, 20), {0, 3}),
        ((3, 2, 1, 0, 0), {0, 1, 2, 3, 4}),
    ],
)
def test_hidden_fifths_hold_ten_patients_together_or_all(counts: tuple[int, ...], hidden: set[int]) -> None:
    """Who subtracts what is shown from the number of all patients learns of no fewer than ten."""
    assert hidden_cells(counts) == hidden
