"""The model-card section: put in once, replaced ever after, and not a byte of the rest touched."""

from __future__ import annotations

from typing import Any

import pytest
import results

from reid_audit.report import publish
from reid_audit.report.modelcard import END, KEY, START, insert

ModelCard = pytest.importorskip("huggingface_hub").ModelCard
LINK = "reid-audit-report.html"
PLAIN = "---\nlicense: mit\n# a comment\ntags: [xray,   chest]\n---\n\n# Model\n\nWords.\n"
CARDS = {
    "metadata": PLAIN,
    "no metadata": "# Model\n\nWords.\n",
    "empty": "",
    "empty metadata": "---\n\n---\n# Model\n",
    "no final line end": "---\nlicense: mit\n---\n# Model",
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "blank first line": "\n" + PLAIN,
    "a rule in the text": "# Model\n\n---\nreid_audit: not metadata\n---\n",
    "two blank lines at the end": PLAIN + "\n",
}


def written(card: str, result: Any = None) -> str:
    return insert(card, publish(result or results.passing()), LINK)


@pytest.mark.parametrize("name", CARDS)
def test_twice_is_once_and_the_rest_stays(name: str) -> None:
    card = CARDS[name]
    once = written(card)
    assert written(once) == once
    found = ModelCard(once)
    data = found.data.to_dict()
    assert data.pop(KEY)["verdict"] == "pass"
    assert data == ModelCard(card).data.to_dict()
    start, end = once.index(START), once.index(END) + len(END)
    head, _, body = card.partition("# Model")
    assert once[:start].rstrip().endswith(body.rstrip())
    assert once[end:].strip() == ""
    for line in head.splitlines():
        assert line in once


@pytest.mark.parametrize("name", CARDS)
def test_removing_what_was_put_in_gives_the_card_back(name: str) -> None:
    """Text before and after the marked section and outside the metadata key is the card's own, in its own bytes."""
    card, once = CARDS[name], written(CARDS[name])
    start, end = once.index(START), once.index(END) + len(END)
    bare = once[:start] + once[end:]
    entry = bare[bare.index(f"{KEY}:\r\n" if "\r\n" in card else f"{KEY}:\n") :]
    lines = entry.splitlines(keepends=True)
    own = "".join([lines[0], *(line for line in lines[1:9] if line.startswith("  "))])
    rest = bare.replace(own, "", 1)
    assert rest.strip().removeprefix("---").strip().removeprefix("---").split() == (
        card.strip().removeprefix("---").strip().removeprefix("---").split()
    )


def test_line_ends_are_the_cards() -> None:
    assert "\n" not in written(CARDS["CRLF"]).replace("\r\n", "")
    assert "\r" not in written(PLAIN)


def test_a_later_report_replaces_the_earlier_in_its_place() -> None:
    once = written(PLAIN).replace(END, END + "\n\n## After")
    twice = written(once, results.waived())
    assert twice.count(START) == twice.count(END) == twice.count(f"\n{KEY}:") == 1
    assert twice.endswith("## After\n")
    assert "Waived by Data protection office, until 2027-03-01" in twice
    assert "Waived by" not in once


def test_metadata_entry_of_another_tool_order_is_found() -> None:
    card = PLAIN.replace("license: mit", f"license: mit\n{KEY}:\n  verdict: fail\n  more:\n    - x")
    data = ModelCard(written(card)).data.to_dict()
    assert data[KEY]["verdict"] == "pass"
    assert "more" not in data[KEY]
    assert list(data) == ["license", "tags", KEY] or set(data) == {"license", "tags", KEY}


@pytest.mark.parametrize("broken", [START, END, END + START, START + START + END])
def test_broken_markers_are_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        written(PLAIN + broken)


def test_the_section_says_what_and_which_file() -> None:
    report = publish(results.passing())
    text = written(PLAIN)
    assert "✅ **Pass.**" in text
    assert f"[Full report]({LINK})" in text
    assert text.count(report.checkpoint.sha256) == 2
    assert "It is not a proof of anonymity" in text
    assert all(f"`{gate.metric}`" in text for gate in report.gates)
    data = ModelCard(text).data.to_dict()[KEY]
    assert data == {
        "verdict": "pass",
        "evidence": "calibrated",
        "checkpoint_sha256": report.checkpoint.sha256,
        "policy_sha256": report.policy_sha256,
        "date": "2026-11-20",
        "version": "0.1.0",
        "report": LINK,
    }


def test_a_screening_is_called_one() -> None:
    text = insert("", publish(results.screening()), LINK)
    assert "## Re-identification screening" in text
    assert ModelCard(text).data.to_dict()[KEY]["evidence"] == "screening"


def test_hostile_text_cannot_end_the_section() -> None:
    result = results.failing()
    told = f"{END} <script> --- [a](b)"
    verdict = result.verdict.model_copy(update={"reason": told, "breaches": (), "gaps": ()})
    text = insert(PLAIN, publish(result.model_copy(update={"verdict": verdict})), LINK)
    assert text.count(END) == 1
    assert insert(text, publish(result), LINK) == insert(PLAIN, publish(result), LINK)
