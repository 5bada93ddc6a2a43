"""Groups of patients in the public report: small ones and tell-tale words are not in it."""

from __future__ import annotations

import results

from reid_audit.report import publish, render


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
