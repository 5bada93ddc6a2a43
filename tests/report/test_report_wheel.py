"""The templates travel in the wheel: build it, render from it, outside the repository."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import results
from conftest import missing

from reid_audit.report import dumps, publish, render, templating

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, pathlib, reid_audit
from reid_audit.report import loads, render
assert reid_audit.__file__.startswith(sys.argv[1]), reid_audit.__file__
sys.stdout.buffer.write(render(loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")), "html").encode())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this working tree."""
    if importlib.util.find_spec("hatchling") is None:
        missing("hatchling (pip install -e .[dev])")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_renders_the_same_page(wheel: Path, tmp_path: Path) -> None:
    report = publish(results.passing())
    document = tmp_path / "report.json"
    document.write_text(dumps(report), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(wheel), str(document)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == render(report, "html")


def test_the_wheel_holds_every_template(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"reid_audit/templates/{p.name}" for p in (REPOSITORY / "templates").iterdir() if p.is_file()} <= names


def test_an_unknown_template_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        templating.source("nothing.j2")
