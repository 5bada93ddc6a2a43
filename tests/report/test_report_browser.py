"""The HTML in a real browser: fits a phone, asks for nothing, breaks no rule of axe, reads in every scheme."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
import results
from conftest import missing
from demo_pages import write_pages

from reid_audit.records import Histogram, Measured, Metric, replaced
from reid_audit.report import publish, render
from reid_audit.report.templating import source

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    "fail",
    "pass",
    "inconclusive",
    "screening",
    "several-networks",
    "not-audited",
    "evidence",
    "patients",
    "compare",
    "data-protection",
]
TONES = ("ink", "soft", "accent", "fail", "pass", "open", "none")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """One Chromium for all tests of this file."""
    binary = chromium.find()
    if binary is None:
        missing("chromium")
    assert binary is not None
    with chromium.Browser(binary, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every example as a file."""
    written = write_pages(tmp_path_factory.mktemp("pages"))
    assert sorted(written) == sorted(PAGES)
    return written


@pytest.fixture(scope="module")
def axe() -> str:
    """Source of axe-core: from REID_AUDIT_AXE, or where tests/browser/setup.sh puts it."""
    said = os.environ.get("REID_AUDIT_AXE")
    places = [Path(said)] if said else []
    places += [folder / "node_modules/axe-core/axe.min.js" for folder in (REPOSITORY / "build/browser", REPOSITORY)]
    for place in places:
        if place.exists():
            return place.read_text(encoding="utf-8")
    missing("axe-core (run tests/browser/setup.sh)")
    raise AssertionError


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_fits_and_asks_for_nothing(browser: chromium.Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.open(pages[name], width)
    wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, f"{wide} px too wide at {width}"
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [pages[name].resolve().as_uri()]
    assert browser.complaints() == []
    assert pages[name].stat().st_size < 500_000
    assert browser.run("getComputedStyle(document.querySelector('.masthead')).borderBottomStyle") == "solid"


OVERLAPS = """
[...document.querySelectorAll('svg.plot')].flatMap(plot => {
  const box = plot.getBoundingClientRect();
  const texts = [...plot.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const left = (a, b) => a.right <= b.left + 1, above = (a, b) => a.bottom <= b.top + 3;
  const apart = (a, b) => left(a, b) || left(b, a) || above(a, b) || above(b, a);
  const over = texts.flatMap(
    ([t, a], i) => texts.slice(i + 1).filter(([, b]) => !apart(a, b)).map(([u]) => t + ' / ' + u));
  const out = texts.filter(([, a]) => a.left < box.left - 2 || a.right > box.right + 2).map(([t]) => t + ' outside');
  return [...over, ...out].map(found => plot.querySelector('title').textContent + ': ' + found);
})
"""
"""Words of a chart that lie on each other, or outside the chart."""


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", ["fail", "pass", "screening", "narrow"])
def test_no_words_of_a_chart_collide(browser: chromium.Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.open(pages.get(name) or narrow(pages["pass"].with_name("narrow.html")), width)
    assert browser.run("document.querySelectorAll('svg.plot text').length") >= 8
    assert browser.run(OVERLAPS) == []
    browser.run("(t => t.parentNode.appendChild(t.cloneNode(true)))(document.querySelector('svg.plot text')); 0")
    assert browser.run(OVERLAPS) != [], "the check sees words on each other"


def narrow(page: Path) -> Path:
    """A report whose figures lie close together, at the edges, or are very small."""
    result = results.passing()
    close = (
        Measured(metric=Metric.MEMBERSHIP_TPR, value=0.0, low=0.0, high=0.011, control=0.0, n=388),
        Measured(metric=Metric.PIXEL_ENTROPY_TUNED, value=6.911, n=56),
        Measured(metric=Metric.FID_PRIOR_REFERENCE, value=12345.6, control=0.1, n=56),
        Measured(metric=Metric.FID_TUNED_REFERENCE, value=12345.5, control=0.1, n=56),
    )
    nulls = tuple(
        Histogram(id=metric, edges=edges, counts=(5, 9, 2), observed=observed)
        for metric, edges, observed in (
            (Metric.LINKAGE_AUC, (0.123456, 0.1234561, 0.1234562, 0.1234563), 0.12345625),
            (Metric.CONSENSUS, (-20000.0, -10000.0, 0.0, 10000.0), -19999.0),
        )
    )
    changed = results.again(result, measurements=replaced(result.measurements, close), histograms=nulls)
    page.write_text(render(publish(changed), "html"), encoding="utf-8")
    return page


@pytest.mark.parametrize(("width", "media"), [(390, ""), (768, ""), (1280, ""), (680, "print")])
@pytest.mark.parametrize("name", PAGES)
def test_no_table_is_cut_off(
    browser: chromium.Browser, pages: dict[str, Path], name: str, width: int, media: str
) -> None:
    """Every table is inside its part, and no part scrolls; 680 CSS pixels are a printed A4 page."""
    browser.open(pages[name], width)
    browser.media(media)
    cut = (
        "[...document.querySelectorAll('table, .scroll')].filter(e => e.scrollWidth > e.parentElement.clientWidth + 1)"
    )
    assert browser.run(f"{cut}.map(e => e.textContent.slice(0, 60))") == []


def test_no_table_of_the_edition_is_cut_off_from_its_caption(browser: chromium.Browser, pages: dict[str, Path]) -> None:
    """None may break across pages, and each is shorter than a printed page (A4 less its margins: 255 mm)."""
    browser.open(pages["data-protection"], 650)
    browser.media("print")
    whole = "getComputedStyle(e).breakInside === 'avoid' && e.offsetHeight < 255 / 25.4 * 96"
    found = "[...document.querySelectorAll('table, .question, .block')]"
    assert browser.run(f"{found}.length") >= 10
    assert browser.run(f"{found}.filter(e => !({whole})).map(e => e.textContent.slice(0, 60))") == []


def test_patients_are_filtered_without_a_script(browser: chromium.Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["evidence"], 1280)

    def shown(choice: str) -> list[str]:
        browser.run(f"document.getElementById('{choice}').click()")
        rows = "[...document.querySelectorAll('.patients tbody tr')].filter(r => r.getClientRects().length)"
        found: list[str] = browser.run(f"{rows}.map(r => r.cells[1].textContent + ' ' + r.cells[2].textContent)")
        return found

    assert len(shown("who-all")) == 8
    assert set(shown("who-exposed")) == {"training re-identified, recognised"}
    assert {row.split()[0] for row in shown("who-training")} == {"training"}
    assert {row.split()[0] for row in shown("who-holdout")} == {"hold-out"}
    assert browser.complaints() == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(
    browser: chromium.Browser, pages: dict[str, Path], axe: str, name: str, width: int, scheme: str
) -> None:
    browser.open(pages[name], width, scheme)
    browser.run(axe + ";0")
    found = browser.run("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))")
    assert found == []


def test_the_policy_stops_scripts(browser: chromium.Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "script.html"
    text = pages["pass"].read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", "<script>document.title = 'ran'</script></main>"), encoding="utf-8")
    browser.open(page, 800)
    assert browser.run("document.title").startswith("Pass")
    assert any("Content Security Policy" in c for c in browser.complaints())


def test_prints_on_white_without_navigation(browser: chromium.Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["fail"], 800, "dark")
    browser.media("print", "dark")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('.contents')).display") == "none"


def test_keyboard_reaches_the_skip_link_first(browser: chromium.Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["pass"], 1280)
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_text_colours_have_contrast(scheme: int) -> None:
    """axe cannot judge text inside SVG; WCAG AA asks for 4.5."""
    block = re.findall(r":root \{(.*?)\}", source("report.css"), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", block))
    for ground in ("paper", "panel"):
        for tone in TONES:
            pair = sorted((_luminance(colours[tone]), _luminance(colours[ground])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (tone, ground)
