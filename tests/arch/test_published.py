"""The table of published medical checkpoints in docs/checkpoints.md is what identification says of their tensors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from published import LAYOUTS, Layout

from reid_audit.arch import match
from reid_audit.errors import ArchitectureError

KINDS = ("3-D network", "tokens or embeddings")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"


def table() -> dict[str, str]:
    """{layout: outcome} of the page."""
    section = PAGE.read_text(encoding="utf-8").partition("### Published medical checkpoints")[2].partition("\n### ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0]: row[2] for row in rows[2:]}


def outcome(layout: Layout) -> str:
    """What identification says, in the table's words."""
    try:
        found = match(layout.build())
    except ArchitectureError as error:
        refusal = error
    else:
        name = re.sub(r"_patch.*", "", found.name)
        return f"identified: {found.library}/{name}{', in doubt' if found.doubts else ''}"
    assert len(refusal.lines()) == 3
    assert "--arch " not in refusal.remedy
    return f"refused: {next((words for words in KINDS if words in refusal.what), 'not known')}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_table_says_what_happens(layout: Layout) -> None:
    for package in layout.needs:
        pytest.importorskip(package, reason=f"{package} builds this layout")
    assert table()[layout.name] == outcome(layout)


def test_every_row_has_a_layout() -> None:
    names = [layout.name for layout in LAYOUTS]
    assert list(table()) == names
    assert len(names) == len(set(names)) >= 25
