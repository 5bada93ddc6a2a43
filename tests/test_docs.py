"""docs/: one page per metric, the policy page generated from the types, examples and pictures that exist."""

from __future__ import annotations

import re
from pathlib import Path

import policy_page
import pytest

from reid_audit.policy import load_policy
from reid_audit.records import CONTROLS, METRICS, Controls, Direction, Metric, Policy, direction_of

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
HEADINGS = [
    "What it measures",
    "How it is computed",
    "Unit and range",
    "Which control it is compared with",
    "Default gate",
    "What it does not say",
    "Source",
]
UNITS = {"share": "Share", "p": "p-value", "count": "Count", "score": "No unit", "years": "Years", "bits": "Bits"}
LIMITS: dict[Metric, tuple[str, str]] = {
    entry.metric: (entry.limit, f"{'lower end ' if entry.bound == 'low' else ''}{entry.comparison.replace('_', ' ')}")
    for entry in CONTROLS.values()
    if entry.metric is not None
}


def default_gate(metric: Metric) -> str:
    """What the default policy asks of ``metric``, as its page says it."""
    gate, said = Policy().gate(metric), []
    lower = direction_of(metric) is Direction.LOWER
    if gate is not None:
        over = " over the control" if gate.basis == "excess" else ""
        if gate.fail is not None:
            said.append(f"fails {'at or below' if lower else 'above'} {gate.fail:g}{over}")
        if gate.clear is not None:
            said.append(f"clear {'above' if lower else 'up to'} {gate.clear:g}{over}")
        if gate.corroborated_by:
            partners = " or ".join(f"`{c.metric}` above {c.above:g}" for c in gate.corroborated_by)
            said.append(f"a breach counts only with {partners}")
    if metric in LIMITS:
        key, verb = LIMITS[metric]
        said.append(f"a control a PASS needs: {verb} {getattr(Controls(), key):g} (`{key}`)")
    if METRICS[metric].always_needed:
        said.append("a PASS always needs it, whatever the policy says")
    text = "; ".join(said) or "none"
    return f"{text[:1].upper()}{text[1:]}."


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_metric_has_one_page_and_every_page_a_metric() -> None:
    assert sorted(page.stem for page in (DOCS / "metrics").iterdir()) == sorted(m.value for m in Metric)


@pytest.mark.parametrize("metric", list(Metric))
def test_metric_page(metric: Metric) -> None:
    page = ROOT / METRICS[metric].page
    assert page.read_text(encoding="utf-8").startswith(f"# `{metric.value}`\n\n{METRICS[metric].label}.")
    found = sections(page)
    assert list(found) == HEADINGS
    assert all(found.values())
    assert found["Default gate"].startswith(default_gate(metric))
    assert found["Unit and range"].startswith(UNITS[METRICS[metric].unit])
    assert ("Smaller is riskier" in found["Unit and range"]) is (direction_of(metric) is Direction.LOWER)
    sources = re.findall(r"`(reid_audit/[\w/]+\.py)`", found["Source"])
    assert sources
    assert all((ROOT / source).is_file() for source in sources)


def test_the_index_links_every_page() -> None:
    index = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [m for m in Metric if index.count(f"(metrics/{m.value}.md)") != 1] == []


def test_the_set_of_pages_is_linked_from_its_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages - set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == set()


@pytest.mark.parametrize("name", ["quick-start.md", "gpu-and-air-gapped.md", "policy.md"])
def test_policies_shown_are_policies(name: str, tmp_path: Path) -> None:
    shown = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    for text in shown:
        if "[[waivers]]" not in text:
            file = tmp_path / "reid-audit.toml"
            file.write_text(text, encoding="utf-8")
            assert load_policy(file, tmp_path)[0].gates


def test_every_picture_is_shown_and_every_shown_picture_is_there() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (*DOCS.rglob("*.md"), ROOT / "README.md"))
    for name in re.findall(r"screenshots/([\w-]+\.png)", pages):
        assert (DOCS / "screenshots" / name).is_file(), name
    size = sum(picture.stat().st_size for picture in (DOCS / "screenshots").iterdir())
    assert size < 1_500_000


def test_threat_model_says_can_and_must_not() -> None:
    page = (DOCS / "threat-model.md").read_text(encoding="utf-8")
    for heading in ("## The attacker can", "## The attacker cannot", "## The tool can", "## The tool must not"):
        assert heading in page


def test_policy_tables_are_those_of_the_types() -> None:
    text = policy_page.PAGE.read_text(encoding="utf-8")
    assert policy_page.page(text) == text, "run: python tests/policy_page.py"
    assert sorted(policy_page.MEANING) == sorted(
        f"{name}.{key}"
        for name, (kind, skipped) in policy_page.TABLES.items()
        for key in kind.model_fields
        if key not in skipped
    )


PATH = re.compile(r"(?<![\w/.-])(?:[a-z_]+/)+[a-z_0-9-]+\.(?:md|py|j2)\b")
"""A file that a text cites, from the repository's root, from the package or from the benchmarks."""
CITING = [
    *sorted(path for folder in ("reid_audit", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
    *sorted(path for path in DOCS.rglob("*.md") if path.name != "checkpoints.md"),  # it names files of other projects
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]


@pytest.mark.parametrize("path", CITING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_cited_exists(path: Path) -> None:
    places = (ROOT, ROOT / "reid_audit", ROOT / "benchmarks", ROOT / "docs", path.parent)
    cited = set(PATH.findall(path.read_text(encoding="utf-8")))
    assert {name for name in cited if not any((place / name).exists() for place in places)} == set()
