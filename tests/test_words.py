"""Names and sentences use the words of the field, and none that only this project knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("reid_audit", "benchmarks", "action", "tests")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PRIVATE = {"court", "desk", "told", "kinder", "harsher", "arm", "arms", "exposure", "exposures"}
"""For the judge, a report, recognised or said, the two confidence bounds, attack runs and membership."""
MEANT = {
    "reid_audit/demo/phantom.py": {"exposures"},  # of a photographic film
    "reid_audit/records/earlier.py": {"exposure", "arms"},  # the names of version 1, which are still read
}
PROSE = re.compile(
    r"\b(courts?|desks?|kinder|harsher|(both|either|neither) sides? of (an|the) audit|(patients?|films) (on|of) "
    r"(both|either|neither) sides?|blind to the sides?|(patients|films|nobody|people) (is|are|was|were|be) told)\b",
    re.I,
)
TEXTS = sorted(
    [
        *(path for folder in ("reid_audit", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "templates").glob("*.j2"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ]
)


def names(tree: ast.Module) -> Iterator[str]:
    """Every name that a module gives: of functions, classes, parameters, variables and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private(source: str) -> set[str]:
    """Private words among the parts of the names that ``source`` gives."""
    parts = {part.lower() for name in names(ast.parse(source)) for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    return parts & PRIVATE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_of_the_field(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    assert private(path.read_text(encoding="utf-8")) <= MEANT.get(place, set())
    assert not set(path.stem.split("_")) & PRIVATE


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_are_of_the_field(path: Path) -> None:
    assert [found[0] for found in PROSE.finditer(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_film_is_what_lies_in_a_file_and_an_image_what_is_computed_with(path: Path) -> None:
    if path.is_relative_to(ROOT / "tests"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            tensors = re.match(r"(Tensor|Stack)\b", ast.unparse(node.annotation))
            assert not (name.endswith("films") and tensors), name


def test_the_rules_find_what_they_forbid() -> None:
    assert private("def kinder_bound(): ...") == {"kinder"}
    assert private("class ExposureTest: ...") == {"exposure"}
    assert private("told = 3") == {"told"}
    assert private("def alarm(harm): ...") == set()
    assert PROSE.search("Patients were told at 1 % false alarms.")
    assert PROSE.search("films of both sides are pooled")
    assert not PROSE.search("both sides of the limit")
