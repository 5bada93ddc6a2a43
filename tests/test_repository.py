"""What a repository is kept with: citation, security, hooks, workflows; each agrees with the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from reid_audit import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]


def test_every_python_that_is_promised_is_tested() -> None:
    promised = {c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)}
    jobs = read(".github/workflows/self-test.yml")["jobs"]
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == promised
    assert {f">={min(promised, key=lambda v: int(v[2:]))}"} == {PROJECT["project"]["requires-python"]}


def test_the_hooks_run_what_the_workflow_runs() -> None:
    hooks = {hook["id"]: hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "mypy", "actionlint", "zizmor"}
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    for tool in ("ruff check", "ruff format", "mypy"):
        assert tool in lint
        assert any(tool in hook["entry"] for hook in hooks.values())
    files = re.compile(hooks["zizmor"]["files"])
    assert all(files.match(path.relative_to(ROOT).as_posix()) for path in (ROOT / ".github/workflows").glob("*.yml"))


def test_only_the_release_may_write_and_only_what_it_needs() -> None:
    release = read(".github/workflows/release.yml")
    assert release["permissions"] == {}
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write", "attestations": "write"}
    assert release["jobs"]["build"]["permissions"] == {"contents": "read"}
    assert read(".github/workflows/self-test.yml")["permissions"] == {"contents": "read"}


def test_dependabot_looks_after_actions_packages_and_the_base_image() -> None:
    looked_after = {each["package-ecosystem"] for each in read(".github/dependabot.yml")["updates"]}
    assert looked_after == {"github-actions", "pip", "docker"}


def test_types_are_checked_in_package_benchmarks_and_tests() -> None:
    assert PROJECT["tool"]["mypy"]["strict"]
    assert PROJECT["tool"]["mypy"]["files"] == ["reid_audit", "benchmarks", "tests"]


def test_coverage_has_a_floor() -> None:
    assert PROJECT["tool"]["coverage"]["run"]["source"] == ["reid_audit"]
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= 80


def test_the_changelog_says_each_kind_of_change_once_for_a_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.+)$", version, flags=re.MULTILINE)
        assert kinds
        assert len(set(kinds)) == len(kinds), version.partition("\n")[0]
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("path", ["fault.yml", "network.yml"])
def test_issue_forms_are_forms(path: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{path}")
    assert {"name", "description", "body"} <= set(form)
    for field in form["body"]:
        assert field["type"] in ("markdown", "textarea", "input")
        assert "attributes" in field


def test_the_pages_that_security_points_to_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w/.-]+\.md)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
