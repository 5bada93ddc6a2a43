"""One marked section and two metadata keys of a Hugging Face model card. Every other byte of the card stays."""

from __future__ import annotations

import json

from reid_audit.report import model_index, plain, words
from reid_audit.report.front_matter import value_of, with_keys
from reid_audit.report.markdown import MARK, facts, gate_table, inert, network_table
from reid_audit.report.wire import PublicReport

START = "<!-- reid-audit:start -->"
END = "<!-- reid-audit:end -->"
KEY = "reid_audit"


def insert(card: str, report: PublicReport, link: str) -> str:
    """``card`` with this report's section and metadata put in, or put in the place of an earlier report's.

    Line ends are those of the card. Inserting twice gives the same text. Raises ValueError where the markers of an
    earlier section are not one pair in order, or the metadata are no plain list of keys.
    """
    line_end = "\r\n" if "\r\n" in card else "\n"
    return _with_metadata(_with_section(card, section(report, link), line_end), report, link, line_end)


def metadata(report: PublicReport, link: str) -> dict[str, str]:
    """What a program finds under ``reid_audit`` in the card's metadata."""
    return {
        "verdict": report.verdict.outcome.value,
        "evidence": "screening" if report.verdict.screening else report.evidence,
        "checkpoint_sha256": report.checkpoint.sha256,
        "policy_sha256": report.policy_sha256,
        "date": f"{report.started:%Y-%m-%d}",
        "version": report.tool.version,
        "report": link,
    }


def section(report: PublicReport, link: str) -> str:
    """The section between its markers, as Markdown."""
    verdict = report.verdict
    blocks = (
        START,
        f"## {words.title(report)}",
        f"{MARK[verdict.outcome]} **{words.OUTCOME_WORD[verdict.outcome]}.** "
        f"{inert(plain.headline(report))} {plain.meaning(report)}",
        facts(report),
        *filter(None, (network_table(report),)),
        gate_table(report),
        "What a pass does not mean:\n\n" + "\n".join(f"- {line}" for line in words.NOT_A_PASS),
        f"[Full report]({link}) of {report.started:%d %B %Y}, made by reid-audit {inert(report.tool.version)}. It is "
        f"about the file with the SHA-256 `{report.checkpoint.sha256}` and about no other.",
        END,
    )
    return "\n\n".join(blocks)


def _with_section(card: str, text: str, line_end: str) -> str:
    text = text.replace("\n", line_end)
    count = card.count(START), card.count(END)
    if count == (0, 0):
        gap = "" if not card or card.endswith(2 * line_end) else line_end if card.endswith(line_end) else 2 * line_end
        return f"{card}{gap}{text}{line_end}"
    start, end = card.find(START), card.find(END)
    if count != (1, 1) or end < start:
        raise ValueError(f"{count[0]} start and {count[1]} end markers of a reid-audit section")
    return card[:start] + text + card[end + len(END) :]


def _with_metadata(card: str, report: PublicReport, link: str, line_end: str) -> str:
    # JSON strings are YAML strings: a digest or a date stays text.
    values = metadata(report, link).items()
    entries = {KEY: "\n".join((f"{KEY}:", *(f"  {name}: {json.dumps(value)}" for name, value in values)))}
    index = model_index.entry(value_of(card, model_index.KEY), report, link)
    if index is not None:
        entries[model_index.KEY] = index
    return with_keys(card, {key: text.replace("\n", line_end) for key, text in entries.items()}, line_end)
