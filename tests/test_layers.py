"""The plan of layers: a module imports only from layers below its own; siblings do not see each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "reid_audit"
LAYERS: dict[str, int] = {
    "records": 0,
    "errors": 0,
    "observer": 0,
    "severity": 0,
    "checkpoint": 1,
    "atomic": 0,
    "memory": 0,
    "figures": 1,
    "budget": 1,
    "device": 1,
    "store": 1,
    "runs": 1,
    "preprocess": 1,
    "workspace": 1,
    "policy": 1,
    "imaging": 1,
    "artefacts": 2,
    "origins": 2,
    "arch": 3,
    "prior": 3,
    "cohort": 3,
    "network": 4,
    "attack": 5,
    "reference": 5,
    "mitigate": 6,
    "score": 6,
    "judge": 7,
    "report": 8,
    "audit": 9,
    "sweep": 9,
    "checking": 10,
    "console": 10,
    "demo": 10,
    "cli": 11,
    "api": 11,
}
SPEAKING = ("cli", "console")
"""The only ones that read a command line or write to a terminal."""
TORCH_FREE = ("records", "errors", "severity", "figures", "observer", "judge", "report")


def _folder(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    folder = _folder(path)
    assert folder in LAYERS, f"{folder} has no layer: add it to the plan or move the module"
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "reid_audit" or len(parts) < 2 or parts[1] == folder or parts[1] not in LAYERS:
            continue
        assert LAYERS[parts[1]] < LAYERS[folder], f"{folder} imports {name}"


PLAIN = [path for path in MODULES if _folder(path) in TORCH_FREE]


@pytest.mark.parametrize("path", PLAIN, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_judges_and_reports_needs_no_torch(path: Path) -> None:
    assert not any(name.split(".")[0] == "torch" for name in _imports(path))


MUTE = [path for path in MODULES if _folder(path) not in SPEAKING]


@pytest.mark.parametrize("path", MUTE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_is_called_does_not_speak(path: Path) -> None:
    assert not {name.split(".")[0] for name in _imports(path)} & {"click", "rich"}


STEPS = {"at_hand", "with_declared_side", "look_ahead", "audit_file", "begun", "finish", "ControlCache"}
"""What a check is made of, in the order that ``checking/steps.py`` alone knows."""
CALLERS = [path for path in MODULES if LAYERS[_folder(path)] == max(LAYERS.values()) and path.stem != "demo"]
"""The demo is no check: its films and networks are none that an option names."""


@pytest.mark.parametrize("path", CALLERS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nobody_carries_out_a_check_in_a_way_of_their_own(path: Path) -> None:
    assert not {name.rpartition(".")[2] for name in _imports(path)} & STEPS


def test_contributing_shows_this_plan() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = {
        name: int(row[1])
        for row in re.finditer(r"^\| (\d+) \| (.+) \|$", text, re.M)
        for name in re.findall(r"`(\w+)(?:/|\.py)`", row[2])
    }
    assert shown == LAYERS


def test_every_folder_exists() -> None:
    folders = {_folder(p) for p in MODULES}
    assert folders <= set(LAYERS)
