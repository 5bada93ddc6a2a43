"""The Dockerfile as far as it can be checked without an engine: hadolint, who runs it, that its files are enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import missing

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    command = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if command is None:
        missing("hadolint (pip install -e .[dev])")
    assert command is not None
    return subprocess.run([command, "--no-color", str(path)], capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    done = hadolint(ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /x && sudo apt-get install y\n", encoding="utf-8")
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


def test_the_base_is_named_by_digest_and_kept_up_to_date() -> None:
    (base,) = (line for line in LINES if line.startswith("ARG BASE="))
    assert re.fullmatch(r"ARG BASE=python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert {line for line in LINES if line.startswith("FROM")} == {"FROM ${BASE} AS build", "FROM ${BASE}"}
    assert "package-ecosystem: docker" in (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")


def test_what_torch_needs_to_share_memory_stays() -> None:
    """``import torch`` looks for it; the rest of that folder is left out of the image."""
    torch = pytest.importorskip("torch")
    assert (Path(torch.__file__).parent / "bin" / "torch_shm_manager").is_file()
    assert "! -name torch_shm_manager" in TEXT


def test_the_image_runs_as_nobody_without_a_shell_and_offline() -> None:
    last = LINES[max(n for n, line in enumerate(LINES) if line.startswith("FROM")) :]
    (user,) = (line for line in last if line.startswith("USER"))
    assert re.fullmatch(r"USER [1-9]\d{3,}:[1-9]\d{3,}", user)
    assert 'ENTRYPOINT ["reid-audit"]' in last
    assert "HF_HUB_OFFLINE=1" in " ".join(last)
    assert not [line for line in LINES if line.startswith(("ADD", "EXPOSE", "VOLUME"))]
    assert not re.search(r"(?i)token|password|secret", TEXT)


def test_what_is_copied_is_let_through_and_builds_a_whole_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name for line in LINES if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    ]
    assert ignored[0] == "*"
    assert sorted(name.removeprefix("!") for name in ignored if name.startswith("!")) == sorted(copied)
    source = tmp_path / "source"
    for name in copied:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"reid_audit/templates/report.html.j2", "reid_audit/demo/targets_data/cnn.safetensors"} <= names
