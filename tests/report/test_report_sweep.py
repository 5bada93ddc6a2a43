"""The summary of a sweep: worst first, one link to each report, nothing that a name could break."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import results

from reid_audit.records import Outcome
from reid_audit.report import publish
from reid_audit.report.json import dumps
from reid_audit.report.sweep import FIGURES, SweepDocument, SweepRow, document, row_of, without_verdict
from reid_audit.report.sweep_pages import headline, render_html


class Links(HTMLParser):
    """Addresses of a page, and what it would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.others: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag in ("script", "img", "iframe", "link") or any(name.startswith("on") for name in given):
            self.others.append(tag)


def rows() -> list[SweepRow]:
    """A row of each kind, the best first."""
    found = []
    for number, result in enumerate((results.passing(), results.demoted(), results.failing()), start=2):
        name, report = f"net{number}", publish(result)
        place = f"{name}-seed0/2026 #1"
        found.append(row_of(report, row=number, name=name, seed=0, seconds=61.0, folder=place, html=True))
    said = ("<script>alert(1)</script> & more", "help: <b>no</b>")
    found.append(without_verdict(row=5, name="odd", seed=1, code=5, said=said, seconds=0.0))
    return found


def summary(*more: SweepRow) -> SweepDocument:
    return document([*rows(), *more], policy_sha256="0" * 64, fail_on="inconclusive")


def test_worst_first_then_by_breaches_and_by_who_could_be_recognised() -> None:
    passed, unsure, failed, odd = rows()
    twice = failed.model_copy(update={"row": 6, "breaches": (*failed.breaches, FIGURES[-1])})
    lower = tuple(one.model_copy(update={"value": one.value / 2}) for one in failed.figures)
    milder = failed.model_copy(update={"row": 3, "figures": lower})
    later = failed.model_copy(update={"row": 8})
    found = document([later, passed, unsure, milder, failed, odd, twice], policy_sha256="0" * 64, fail_on="fail")
    assert found.rows == (odd, twice, failed, later, milder, unsure, passed)
    assert (found.outcome, found.exit_code) == (Outcome.REFUSED, 3)
    assert headline(found) == "7 audits: 1 refused, 4 fail, 1 inconclusive, 1 pass"


def test_the_page_links_every_report_and_loads_and_runs_nothing() -> None:
    page = render_html(summary())
    found = Links(page)
    assert [link for link in found.links if not link.startswith("#")] == [
        f"net{number}-seed0/2026%20%231/report.html" for number in (4, 3, 2)
    ]
    assert found.others == []
    assert "default-src 'none'" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "1 min 1 s" in page


def test_the_document_is_read_back_as_it_was_and_holds_no_name_of_a_film() -> None:
    found = summary()
    text = dumps(found)
    assert SweepDocument.model_validate_json(text) == found
    assert json.loads(text)["schema"] == "reid-audit/sweep/1"
    assert not re.search(r"patient_?id|\.png", text)
