"""Tables of measurements on the pages of docs/: what a run measured replaces its old rows, what it did not stays.

Finished cells live in files that are not committed; the page is what survives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Row = tuple[str, ...]


def markdown(head: Sequence[str], rows: Iterable[Row]) -> str:
    """A table, one line a row."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def publish(
    head: Sequence[str],
    rows: Sequence[Row],
    page: Path | None,
    *,
    keys: int,
    mark: str = "table",
    above: Callable[[Sequence[Row]], str] | None = None,
) -> None:
    """Print a table; on ``page``, put it between ``<!-- mark -->`` and ``<!-- /mark -->``.

    Rows of the page whose first ``keys`` cells are not among the new ones are kept. ``above`` writes what stands over
    the table from all its rows. Raises ValueError where the page has rows of other columns: they would be lost.
    """
    if page is None:
        print(shown(head, rows, above))
        return
    put(shown(head, merged(rows_of_table(marked(page, mark)[1], head), rows, keys), above), page, mark)


def put(text: str, page: Path | None, mark: str) -> None:
    """Print ``text``; on ``page``, it replaces what stands between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    print(text)
    if page is not None:
        before, _, after = marked(page, mark)
        page.write_text(f"{before}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{after}", encoding="utf-8")


def marked(page: Path, mark: str) -> tuple[str, str, str]:
    """The page before the mark's place, in it, and after it."""
    before, rest = page.read_text(encoding="utf-8").split(f"<!-- {mark} -->")
    inside, after = rest.split(f"<!-- /{mark} -->")
    return before, inside, after


def shown(head: Sequence[str], rows: Sequence[Row], above: Callable[[Sequence[Row]], str] | None) -> str:
    table = markdown(head, rows)
    return table if above is None else above(rows) + "\n\n" + table


def merged(old: Iterable[Row], new: Iterable[Row], keys: int) -> list[Row]:
    """All rows by their first ``keys`` cells, new before old, numbers in the order of their values."""
    by_key = {row[:keys]: row for row in (*old, *new)}
    return [by_key[key] for key in sorted(by_key, key=lambda cells: [natural(cell) for cell in cells])]


def natural(cell: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``overfit-8`` comes before ``overfit-16``."""
    parts = re.findall(r"\d+|\D+", cell)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def rows_of_table(text: str, head: Sequence[str]) -> list[Row]:
    """Rows of the table in ``text`` that starts with the same column; none where there is no such table."""
    found: list[Row] = []
    inside = False
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        if not line.startswith("|"):
            inside = False
        elif inside:
            found.append(cells)
        elif cells[0] == head[0] and cells != tuple(head):
            raise ValueError(f"the page's table has other columns: {', '.join(cells)}")
        else:
            inside = cells == tuple(head)
    return [row for row in found if not set("".join(row)) <= set("-: ")]
