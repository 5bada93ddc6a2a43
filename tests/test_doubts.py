"""A network that may not be the one that was trained never PASSes, and FAILs all the same."""

from __future__ import annotations

from reid_audit.judge import doubt_gaps, with_gaps
from reid_audit.records import ArchMatch, Outcome, Verdict

DOUBTED = ArchMatch(name="resnet18", library="torchvision", family="resnet", coverage=1.0, doubts=("first", "second"))


def test_every_doubt_is_a_gap_with_a_remedy() -> None:
    gaps = doubt_gaps(DOUBTED)
    assert [gap.text for gap in gaps] == ["the network is in doubt: first", "the network is in doubt: second"]
    assert all("--arch" in gap.remedy for gap in gaps)
    assert doubt_gaps(DOUBTED.model_copy(update={"doubts": ()})) == ()


def test_a_doubt_withholds_the_pass_and_nothing_else() -> None:
    passed, failed = (Verdict(outcome=outcome, reason="so") for outcome in (Outcome.PASS, Outcome.FAIL))
    withheld = with_gaps(passed, doubt_gaps(DOUBTED))
    assert withheld.outcome is Outcome.INCONCLUSIVE
    assert "first" in withheld.reason
    kept = with_gaps(failed, doubt_gaps(DOUBTED))
    assert (kept.outcome, kept.reason, len(kept.gaps)) == (Outcome.FAIL, "so", 2)
