"""The model-card section: put in once, replaced ever after, and not a byte of the rest touched."""

from __future__ import annotations

from typing import Any

import pytest
import results

from reid_audit.report import publish
from reid_audit.report.front_matter import FRONT, place_of
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
    assert data.pop("model-index")
    assert data == ModelCard(card).data.to_dict()
    start, end = once.index(START), once.index(END) + len(END)
    head, _, body = card.partition("# Model")
    assert once[:start].rstrip().endswith(body.rstrip())
    assert once[end:].strip() == ""
    for line in head.splitlines():
        assert line in once


@pytest.mark.parametrize("name", CARDS)
def test_removing_what_was_put_in_gives_the_card_back(name: str) -> None:
    """Text before and after the marked section and outside the metadata keys is the card's own, in its own bytes."""
    card, once = CARDS[name], written(CARDS[name])
    start, end = once.index(START), once.index(END) + len(END)
    bare = once[:start] + once[end:]
    for key in (KEY, "model-index"):
        block = FRONT.match(bare)
        assert block is not None
        place = place_of(block[2], key)
        assert place is not None
        bare = bare[: block.start(2)] + block[2][: place[0]] + block[2][place[1] :] + bare[block.end(2) :]
    assert bare.strip().removeprefix("---").strip().removeprefix("---").split() == (
        card.strip().removeprefix("---").strip().removeprefix("---").split()
    )


def test_figures_are_results_as_the_hub_reads_them() -> None:
    report = publish(results.passing())
    (first, *_) = found = ModelCard(written(PLAIN)).data.eval_results
    assert {row.metric_type: row.metric_value for row in found} == {
        gate.metric.value: measured.value
        for gate in report.gates
        if (measured := report.measured(gate.metric)) is not None
    }
    assert (first.source_name, first.source_url) == ("reid-audit", LINK)
    assert all(row.metric_name for row in found)


OTHERS = """---
license: mit
model-index:
- name: Chest net   # a comment inside goes, this one too
  results:
  - task: {type: image-classification}
    dataset: {type: nih, name: NIH}
    metrics:
    - type: accuracy
      value: 0.91
# a comment behind stays
tags: [xray]
---
# Model
"""


def test_results_of_others_stay_and_ours_are_replaced() -> None:
    once = written(OTHERS)
    assert once == written(once)
    assert "# a comment behind stays\ntags: [xray]\n" in once
    later = ModelCard(written(once, results.failing())).data
    assert later.model_name == "Chest net"
    assert [row.metric_value for row in later.eval_results if row.metric_type == "accuracy"] == [0.91]
    kinds = [row.metric_type for row in later.eval_results]
    assert len(kinds) == len(set(kinds))
    assert "linkage_p" in kinds


@pytest.mark.parametrize(
    "block", ["model-index: 3", "model-index:\n- name: x", f"{KEY}: 1\n{KEY}: 2", "{license: mit}", "- a"]
)
def test_a_block_that_cannot_be_extended_is_refused(block: str) -> None:
    with pytest.raises(ValueError, match="at the top"):
        written(f"---\n{block}\n---\n# Model\n")


def test_line_ends_are_the_cards() -> None:
    assert "\n" not in written(CARDS["CRLF"]).replace("\r\n", "")
    assert "\r" not in written(PLAIN)


def test_a_later_report_replaces_the_earlier_in_its_place() -> None:
    once = written(PLAIN).replace(END, END + "\n\n## After")
    twice = written(once, results.waived())
    assert twice.count(START) == twice.count(END) == twice.count(f"\n{KEY}:") == twice.count("\nmodel-index:") == 1
    assert twice.endswith("## After\n")
    assert "Waived by Data protection office, until 2027-03-01" in twice
    assert "Waived by" not in once


def test_metadata_entry_of_another_tool_order_is_found() -> None:
    card = PLAIN.replace("license: mit", f"license: mit\n{KEY}:\n  verdict: fail\n  more:\n    - x")
    data = ModelCard(written(card)).data.to_dict()
    assert data[KEY]["verdict"] == "pass"
    assert "more" not in data[KEY]
    assert set(data) == {"license", "tags", KEY, "model-index"}


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
    said = f"{END} <script> --- [a](b)"
    verdict = result.verdict.model_copy(update={"reason": said, "breaches": (), "gaps": ()})
    text = insert(PLAIN, publish(result.model_copy(update={"verdict": verdict})), LINK)
    assert text.count(END) == 1
    assert insert(text, publish(result), LINK) == insert(PLAIN, publish(result), LINK)
