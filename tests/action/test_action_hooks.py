"""The hooks for pre-commit do what they say, and the examples for other systems publish nothing restricted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which reid-audit is this one."""
    script = tmp_path / "bin" / "reid-audit"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reid_audit "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def hook(name: str, path: str, *files: Path) -> int:
    (entry,) = (found["entry"] for found in HOOKS if found["id"] == name)
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*shlex.split(entry), *map(str, files)], env=environment, capture_output=True, check=False)
    return done.returncode


def test_hooks_take_files_by_name_and_end_with_the_first_refusal(path: str, tmp_path: Path) -> None:
    good, bad = ROOT / "examples" / "targets" / "cnn.safetensors", tmp_path / "bad one.pt"
    bad.write_bytes(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.")
    assert hook("reid-audit-inspect", path, good, bad) == 5
    assert hook("reid-audit-inspect", path, good) == 0
    policy = tmp_path / "reid-audit.toml"
    policy.write_text("", encoding="utf-8")
    assert hook("reid-audit-policy", path, policy) == 0
    policy.write_text("unknown = 1", encoding="utf-8")
    assert hook("reid-audit-policy", path, policy) == 2


def test_hooks_name_what_they_look_at() -> None:
    files = {found["id"]: found["files"] for found in HOOKS}
    assert re.search(files["reid-audit-inspect"], "models/a.safetensors")
    assert not re.search(files["reid-audit-inspect"], "models/a.py")
    assert re.search(files["reid-audit-policy"], "reid-audit.toml")


def test_jenkins_keeps_public_reports_by_name() -> None:
    text = (ROOT / "examples" / "ci" / "Jenkinsfile").read_text(encoding="utf-8")
    assert "WORKSPACE_TMP}/reid-audit-report" in text
    (names,) = re.findall(r"for name in ([\w. ]+); do", text)
    assert set(names.split()) == {"report.html", "report.json", "report.md", "report.sarif", "report.junit.xml"}
    assert text.count("{") == text.count("}")
