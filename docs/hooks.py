"""What the site does beside its plugins.

Links from a page to a file of the repository that is no page of the site become its name; a link to a file that does
not exist stays as it is, so that a strict build fails on it. A folder in the navigation stands for its pages, and pages
that the navigation does not name come last. The first time a page uses a word of the glossary, the word leads there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import relpath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)]*)?\)")

GLOSSARY = "glossary.md"
UNLINKED = frozenset({"a", "button", "code", "h1", "h2", "h3", "h4", "h5", "h6", "label", "pre", "summary"})
"""Elements whose words stay as they are."""


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


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """A page whose first use of each word of the glossary is a link; pages made from the program stay as they are."""
    source = page.file.src_uri
    if source == GLOSSARY or source.startswith("reference/"):
        return html
    place = relpath(GLOSSARY.replace(".md", ".html"), start=str(Path(page.file.dest_uri).parent))
    return with_terms(html, glossary_terms((DOCS / GLOSSARY).read_text(encoding="utf-8")), place)


def glossary_terms(text: str) -> list[str]:
    """The entries of the glossary: its headings of the third level."""
    return re.findall(r"^### (.+)$", text, re.MULTILINE)


def with_terms(html: str, terms: list[str], place: str) -> str:
    """``html`` with the first occurrence of each term, in singular or plural, as a link to its entry at ``place``."""
    left, inside, parts = dict.fromkeys(terms), list[str](), re.split(r"(<[^>]+>)", html)
    for number, part in enumerate(parts):
        tag = re.match(r"<(/?)(\w+)", part)
        if tag and tag[2] in UNLINKED:
            if not tag[1]:
                inside.append(tag[2])
            elif inside:
                inside.pop()
        elif not tag and not inside:
            parts[number] = _linked(part, left, place)
    return "".join(parts)


def _linked(text: str, left: dict[str, None], place: str) -> str:
    """``text`` with links for the terms in ``left`` that it holds; each is taken out of ``left``."""
    if not left:
        return text
    stems = {term.lower().removesuffix("ies").removesuffix("s").removesuffix("y"): term for term in left}
    known = "|".join(map(re.escape, sorted(stems, key=len, reverse=True)))

    def link(found: re.Match[str]) -> str:
        term = stems[found[1].lower()]
        if term not in left:
            return found[0]
        del left[term]
        return f'<a class="term" href="{place}#{term.lower().replace(" ", "-")}">{found[0]}</a>'

    return re.sub(rf"(?<![\w./-])({known})(?:s|y|ies)?(?![\w/-])", link, text, flags=re.IGNORECASE)
