"""The whole action in an emulator of the runner (act, on this machine without containers): expressions and ``uses``.

Actions of others cannot be fetched here: stand-ins print what they are given. What act does otherwise than GitHub
(permissions, caches, artifacts, annotations in the page) is not covered.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import missing
from place import SHA, Place, results, runner

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
USED = [step["uses"] for step in ACTION["runs"]["steps"] if "uses" in step]
WORKFLOW = """
on: [push, pull_request]
jobs:
  audit:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683
      - uses: ./
        id: gate
        with: %s
      - if: always()
        env:
          TOLD: ${{ toJSON(steps.gate.outputs) }}
        run: echo "TOLD $(echo "$TOLD" | tr -d '\\n')"
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


def stand_in(folder: Path, names: tuple[str, ...]) -> Path:
    """An action that prints each of its inputs on a line."""
    folder.mkdir(parents=True)
    shown = [{"run": f'echo "$GIVEN" | sed "s/^/{folder.name} {name}: /"', "shell": "bash",
              "env": {"GIVEN": f"${{{{ inputs.{name} }}}}"}} for name in names]  # fmt: skip
    inputs = {name: {"required": False} for name in names}
    document = {"name": folder.name, "inputs": inputs, "runs": {"using": "composite", "steps": shown}}
    (folder / "action.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def emulated(place: Place, code: int, event: str = "push", payload: dict[str, Any] | None = None, **inputs: str) -> str:
    """What act prints of the workflow."""
    act = shutil.which("act") or shutil.which("act", path=str(Path(sys.executable).parent))
    if act is None:
        missing("act (pip install -e .[dev])")
    runner.fake_command(place.temp, place.prepared, code)
    (place.workspace / "reid_audit").mkdir()
    for name in ("action.yml", "pyproject.toml", "reid_audit/severity.py"):
        shutil.copyfile(ROOT / name, place.workspace / name)
    shutil.copytree(ROOT / "action", place.workspace / "action", ignore=shutil.ignore_patterns("__pycache__"))
    given = {"checkpoint": "model.pt", "version": "preinstalled", **{k.replace("_", "-"): v for k, v in inputs.items()}}
    flow = place.workspace / ".github" / "workflows" / "gate.yml"
    flow.parent.mkdir(parents=True)
    flow.write_text(WORKFLOW % json.dumps(given), encoding="utf-8")
    who = [f"GIT_{role}_{what}=a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    environment = {
        **dict(word.split("=") for word in who),
        "HOME": str(place.temp),
        "PATH": f"{place.temp / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "state")):
        subprocess.run(["git", *words], cwd=place.workspace, env=environment, check=True)
    (place.temp / "given.json").write_text(json.dumps(payload or {}), encoding="utf-8")
    kinds = {"setup-python": ("python-version",), "cache": ("path", "key"), "upload-artifact": ("name", "path")}
    replaced = [
        f"--local-repository={name}={stand_in(place.temp / 'others' / kind, kinds[kind])}"
        for name in USED
        if (kind := name.partition("@")[0].rpartition("/")[2])
    ]
    options = ["-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "-e", str(place.temp / "given.json")]
    done = subprocess.run(
        [str(act), event, *options, *replaced],
        cwd=place.workspace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return f"{done.stdout}\nENDED {done.returncode}"


def said(log: str) -> dict[str, str]:
    """The outputs as a later step of the job saw them."""
    (line,) = re.findall(r"\| TOLD (\{.*\})", log)
    found: dict[str, str] = json.loads(line)
    return found


def test_a_pass_with_everything_switched_on(place: Place) -> None:
    place.write(results.passing())
    log = emulated(place, 0, upload_artifact="true")
    assert log.endswith("ENDED 0"), log
    assert said(log)["verdict"] == "pass"
    assert "setup-python python-version: 3.12" in log
    assert re.search(r"cache key: reid-audit-pip-[0-9a-f]{64}", log)
    assert f"upload-artifact name: reid-audit-{SHA}" in log
    uploaded = re.findall(r"upload-artifact path: (\S+)", log)
    assert {Path(name).name for name in uploaded} >= {"report.json", "report.html", "report.sarif"}
    assert all(str(place.workspace) not in name and "restricted" not in name for name in uploaded)


def test_a_fail_ends_the_job_and_its_outputs_are_there(place: Place) -> None:
    place.write(results.failing())
    log = emulated(place, 1, cache="false", python_version="")
    assert "Job failed" in log
    assert (said(log)["verdict"], said(log)["exit-code"]) == ("fail", "1")
    assert "cache key:" not in log
    assert "setup-python python-version:" not in log


def test_a_fork_is_refused_before_anything_is_installed(place: Place) -> None:
    place.write(results.passing())
    fork = {"head": {"repo": {"full_name": "stranger/x"}, "ref": "a", "sha": "0"},
            "base": {"repo": {"full_name": "clinic/x"}, "ref": "main", "sha": ""}, "number": 1}  # fmt: skip
    log = emulated(place, 0, "pull_request", {"pull_request": fork})
    assert "Job failed" in log
    assert "Pull requests from forks are refused" in log
    assert said(log)["verdict"] == "not_audited"
    assert not (place.temp / "arguments.json").exists()
