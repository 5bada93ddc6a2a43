"""Advice is chosen from what was measured, and the page shows every row it is chosen from."""

from __future__ import annotations

from pathlib import Path

import pytest
import results

from reid_audit.report import advice as advising
from reid_audit.report import plain, publish
from reid_audit.report.advice import MeasuredMitigation, advice, helped, in_vain, measured, vain

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mitigations.md"


def row(name: str, **changes: object) -> MeasuredMitigation:
    """A mitigation that took both breaches of a network away."""
    fields: dict[str, object] = {
        "name": name,
        "network": "a network",
        "patients": 16,
        "in_training": False,
        "idea": f"Do {name}.",
        "effect": "replaces",
        "membership": (0.55, 0.50, 0.60),
        "membership_before": (0.95, 0.90, 0.99),
        "linkage_p": 0.4,
        "linkage_p_before": 0.0001,
        "accuracy": 0.78,
        "accuracy_before": 0.80,
    }
    return MeasuredMitigation.model_validate({**fields, **changes})


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    known = (
        row("costly", accuracy=0.60),
        row("cheap"),
        row("recompute-bn", membership=(0.93, 0.88, 0.97)),
        row("hiding", effect="hides"),
        row("blunting", effect="blunts", linkage_p=0.0001, membership=(0.95, 0.9, 0.99)),
        row("training", in_training=True, effect=None, linkage_p=0.005),
        row("mute", accuracy=None),
        row("crowded", patients=400, membership=(0.66, 0.62, 0.70), membership_before=(0.67, 0.62, 0.7)),
    )
    monkeypatch.setattr(advising, "measured", lambda: known)


@pytest.mark.usefixtures("rows")
def test_the_breach_chooses_and_the_cost_orders() -> None:
    assert [one.name for one in helped("reconstruction", 20, statistics=True)] == [
        "cheap",
        "recompute-bn",
        "costly",
        "mute",
    ]
    assert [one.name for one in helped("membership", 20, statistics=True)] == ["cheap", "training", "costly", "mute"]
    assert in_vain("reconstruction", 20) == ("blunting", "training")
    assert in_vain("membership", 20) == ("recompute-bn", "blunting")


@pytest.mark.usefixtures("rows")
def test_a_network_with_many_patients_is_not_advised_by_one_with_few() -> None:
    assert helped("membership", 300, statistics=True) == ()
    assert in_vain("membership", 300) == ("crowded",)
    assert "crowded" not in in_vain("membership", 20)


@pytest.mark.usefixtures("rows")
def test_what_has_nothing_to_replace_is_not_advised() -> None:
    assert "recompute-bn" not in [one.name for one in helped("reconstruction", 20, statistics=False)]


@pytest.mark.usefixtures("rows")
def test_advice_says_how_where_and_at_what_price() -> None:
    first, *_ = advice("reconstruction", 16, statistics=True)
    assert first == (
        "Do cheap (reid-audit mitigate --apply cheap). Measured on a network: membership AUC 0.95 to 0.55, linkage p "
        "0.0001 to 0.4, accuracy 0.80 to 0.78 (docs/mitigations.md)."
    )
    assert vain(("reconstruction", "membership"), 16) == (
        "Tried on such a network, and no help against being reconstructed (docs/mitigations.md): blunting, training.",
        "Tried on such a network, and no help against being recognised (docs/mitigations.md): recompute-bn, blunting.",
    )
    trained = advice("membership", 16, statistics=True)[1]
    assert "mitigate" not in trained.partition("(docs")[0]


def test_every_row_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert measured()
    for one in measured():
        cell = f"| {one.name}-388 |" if one.in_training else f"| {one.name} |"
        assert cell in page, one.name
        assert f"{one.membership[0]:.2f} [{one.membership[1]:.2f}, {one.membership[2]:.2f}]" in page


def test_a_report_advises_what_was_measured_before_what_stands_to_reason() -> None:
    offered = plain.mitigations(publish(results.failing()))
    every = [*advice("reconstruction", 16, statistics=True), *advice("membership", 16, statistics=True)]
    assert set(every) <= set(offered)
    assert offered[-1].startswith("Tried on such a network, and no help")
    assert all(len(text) < 400 for text in offered)
