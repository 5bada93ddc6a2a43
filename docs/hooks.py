"""What the site does beside its plugins.

Links from a page to a file of the repository that is no page of the site become its name; a link to a file that does
not exist stays as it is, so that a strict build fails on it. A folder in the navigation stands for its pages, and pages
that the navigation does not name come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """The navigation with folders unfolded, and every page somewhere."""
    nav = [_unfolded(entry) for entry in config.nav]
    named = set(_pages(nav))
    rest = [name for path in sorted(DOCS.rglob("*.md")) if (name := path.relative_to(DOCS).as_posix()) not in named]
    config.nav = [*nav, {"Further pages": rest}] if rest else nav
    return config


def _unfolded(entry: Any) -> Any:
    if isinstance(entry, str):
        return entry
    ((title, inside),) = entry.items()
    if isinstance(inside, list):
        return {title: [_unfolded(each) for each in inside]}
    if not inside.endswith("/"):
        return entry
    return {title: [path.relative_to(DOCS).as_posix() for path in sorted((DOCS / inside).glob("*.md"))]}


def _pages(entries: Any) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for inside in entry.values():
                yield from _pages(inside if isinstance(inside, list) else [inside])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page with its links out of docs/ as text: the words, and the path in the repository."""
    folder = (DOCS / page.file.src_uri).parent

    def named(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if not target.exists() or target.is_relative_to(DOCS):
            return found[0]
        return f"{found[1]} (`{target.relative_to(ROOT).as_posix()}` in the repository)"

    return LINK.sub(named, markdown)
