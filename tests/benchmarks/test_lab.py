"""Scripts share the lab and nothing else: none imports another, and films are read as the product reads them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.glob("*.py") if path.stem != "__init__")
EVERY = [*SCRIPTS, *sorted((BENCHMARKS / "lab").glob("*.py"))]
WRITERS = ("stored_films", "generated", "study_pairs")
"""What writes picture files: films in every format that hospitals store, generated ones, and pairs side by side."""
BESIDE = {"study_pairs": "benchmarks.study"}
"""A script that shows what another one's attack makes of other films, and the script."""


def imported(path: Path) -> set[str]:
    """Modules that a file imports, with what it takes from packages as ``package.name``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{each.name}" for each in node.names)
    return found


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_no_script_is_imported(path: Path) -> None:
    scripts = {f"benchmarks.{script.stem}" for script in SCRIPTS} - {BESIDE.get(path.stem, "")}
    assert not {name for name in imported(path) if name in scripts}


@pytest.mark.parametrize("path", [p for p in EVERY if p.stem not in WRITERS], ids=lambda path: path.stem)
def test_films_are_read_by_the_product(path: Path) -> None:
    assert not {name for name in imported(path) if re.match(r"(PIL|pydicom|skimage\.io)(\.|$)", name)}
