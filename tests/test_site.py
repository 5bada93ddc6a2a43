"""The site of docs/: it builds strictly, every link in it leads somewhere, and every command it shows is one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from reid_audit.cli import COMMANDS, main
from reid_audit.report.protection_words import GLOSSARY

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(r"^ *```(?:sh|console|bash)?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Links(HTMLParser):
    """Links and names of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.append(value)
            elif value and name in ("id", "name"):
                self.names.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Strict: a warning is a failure."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder: Path = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    broken: list[str] = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.exists() or (
                known is not None and parts.fragment and unquote(parts.fragment) not in known.names
            ):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert len(pages) > 60
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//", text), path.name
        assert not re.search(r"<link[^>]+rel=\"(?:stylesheet|preconnect)\"[^>]+href=\"(?:https?:)?//", text), path.name


def test_reference_pages_are_made_from_the_program(site: Path) -> None:
    commands = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert [
        name for name in COMMANDS if f'id="{name}"' not in commands and f'id="reid-audit-{name}"' not in commands
    ] == []
    assert "--indicators-only" in commands
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in ("api.check", "api.inspect", "api.render", "cohort.memory.Images", "errors.AuditError"):
        assert f'id="reid_audit.{name}"' in api, name


def test_the_first_use_of_a_word_of_the_glossary_leads_there(site: Path) -> None:
    page = (site / "statistics.html").read_text(encoding="utf-8")
    terms = re.findall(r'<a class="term" href="glossary\.html#([\w-]+)">([^<]+)</a>', page)
    assert len(terms) >= 5
    assert len({anchor for anchor, _ in terms}) == len(terms), "each once a page"
    assert ("p-value", "p-value") in terms
    assert 'class="term"' not in (site / "glossary.html").read_text(encoding="utf-8")
    assert 'href="../glossary.html#' in (site / "how-to" / "reading-a-fail.html").read_text(encoding="utf-8")
    linked = sum('class="term"' in path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    assert linked > 60


def test_the_glossary_is_that_of_the_reports() -> None:
    reports, further = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Further words")
    entries = [re.findall(r"^### (.+)\n\n(.+)$", part, re.MULTILINE) for part in (reports, further)]
    assert entries[0] == [tuple(entry) for entry in GLOSSARY]
    assert len(entries[1]) > 20
    words = [word for part in entries for word, _ in part]
    assert len(set(words)) == len(words)


ANSWERS = {
    "What does a pass mean, and what does it not?": r"images of patients: recovered by this attack at this budget",
    "Which films do I need, and how many patients?": r"108 or more .* better 400",
    "It failed. What now?": r"reid-audit mitigate",
    "It is inconclusive. What now?": r"says what is missing and what would supply it",
    "Which exit code means what?": r"4 inconclusive: evidence that the policy asks for is missing",
    "Is my architecture known?": r"every torchvision .* every timm",
    "How long will it take?": r"reid-audit plan model\.safetensors",
    "What of the report may I publish?": r"names of films, patient ids",
    "How do I put it into CI?": r"GitLab .* Jenkins",
    "What is a p-value, an interval, a control?": r"p-value .* How often chance alone would give",
}
"""Questions of the start page, and words of the answer."""


class Reading(HTMLParser):
    """What a page says from ``anchor`` on to the next heading of its level, and where the cells of its tables lead."""

    def __init__(self, text: str, anchor: str = "") -> None:
        super().__init__()
        self.anchor, self.level, self.on, self.body = anchor, 9, False, False
        self.said: list[str] = []
        self.rows: list[tuple[str, list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.body = self.body or tag == "article"
        heading = int(tag[1]) if re.fullmatch("h[1-6]", tag) else 9
        if self.anchor and given.get("id") == self.anchor:
            self.on, self.level = True, heading
        elif heading <= self.level and self.anchor:
            self.on = False
        if tag == "tr":
            self.rows.append(("", []))
        elif tag == "a" and self.rows and given.get("href"):
            self.rows[-1][1].append(str(given["href"]))

    def handle_endtag(self, tag: str) -> None:
        self.body = self.body and tag != "article"

    def handle_data(self, data: str) -> None:
        if self.body and (self.on or not self.anchor):
            self.said.append(data)
        if self.rows:
            self.rows[-1] = (self.rows[-1][0] + data, self.rows[-1][1])

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def test_ten_questions_are_answered_one_click_from_the_start(site: Path) -> None:
    """Two would be allowed: the first link in a question's row is followed, and the words of the answer stand there."""
    rows = {" ".join(said.split()): links for said, links in Reading((site / "index.html").read_text()).rows}
    for question, words in ANSWERS.items():
        (links,) = (links for said, links in rows.items() if said.startswith(question))
        page, _, anchor = links[0].partition("#")
        reading = Reading((site / page).read_text(encoding="utf-8"), anchor)
        assert re.search(words, reading.text), f"{question} {links[0]}: {reading.text[:300]}"
    asked = re.findall(r"^\| ([^|]+\?) \| \[", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(asked) == sorted(ANSWERS)
    assert len(asked) == 10


def pages_in(part: str) -> list[Path]:
    """The pages below ``part`` of the navigation."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    block = re.search(rf"^  - {part}:\n((?:      - .*\n)+)", text, re.MULTILINE)
    assert block is not None
    return [ROOT / "docs" / name for name in re.findall(r": (\S+\.md)$", block[1], re.MULTILINE)]


HISTORY = re.compile(r"\bused to\b(?! be)|\bformer(?:ly)?\b|\bearlier version|\bno longer\b|\| before \| now")
DATE = re.compile(
    r"\b\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December) 20\d\d"
)


def test_what_is_and_what_was_have_pages_of_their_own() -> None:
    """Tutorial, how-to and reference say what is; a page of the research log begins with when it was measured."""
    now = [page for part in ("Tutorial", "How to", "Reference") for page in pages_in(part)]
    log = pages_in("Research log")
    assert len(now) > 20
    assert len(log) >= 8
    for page in now:
        assert HISTORY.search(page.read_text(encoding="utf-8")) is None, page.name
    for page in log:
        shown = page.read_text(encoding="utf-8")
        assert DATE.search(shown[:600]), page.name
    assert any(HISTORY.search(page.read_text(encoding="utf-8")) for page in log), "the check sees history"


def figures_in(text: str) -> float:
    """Figures per 100 words of the sentences; tables, code and links' addresses do not count."""
    text = re.sub(r"^(```.*?^```|\|.*?)$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", "", text)
    figures = re.findall(r"(?<![\w.])\d[\d,.]*", text)
    return 100 * len(figures) / len(re.findall(r"[A-Za-z][\w'-]*", text))


def test_pages_that_are_read_are_not_lists_of_figures() -> None:
    """A figure stands where a decision needs it; what was measured stands in tables and in the log."""
    pages = [*pages_in("Tutorial"), *pages_in("Reference"), ROOT / "docs" / "power.md"]
    assert len(pages) > 12
    assert {page.name: round(found, 1) for page in pages if (found := figures_in(page.read_text())) > 5} == {}
    assert figures_in((ROOT / "docs" / "validity.md").read_text()) > 10, "the check sees figures"


def commands_of(page: Path) -> list[str]:
    """Every call of reid-audit in the page's blocks of commands."""
    found: list[str] = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        found += [line.strip() for line in lines if line.strip().startswith("reid-audit ")]
    return found


def parsed(line: str) -> None:
    """Raises click's errors where a line is no command of this program."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((n for n, word in enumerate(words) if word in (">", "|", "&&", "||")), len(words))]
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inside = command.get_command(click.Context(command), words[0])
        assert inside is not None, line
        command, words = inside, words[1:]
    if words not in (["--help"], ["--version"]):
        command.make_context(command.name, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_is_shown_is_one(page: Path) -> None:
    for line in commands_of(page):
        try:
            parsed(line)
        except (click.exceptions.Exit, click.ClickException) as error:
            pytest.fail(f"{line}: {getattr(error, 'message', error)}")


def test_commands_are_found_and_mistakes_too() -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 40
    for wrong in ("reid-audit check model.pt --budgt 3m", "reid-audit render", "reid-audit check m --profile huge"):
        with pytest.raises(click.ClickException):
            parsed(wrong)
