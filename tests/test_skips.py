"""In CI a skip is a failure, of a test and of a whole file, except for hardware; elsewhere it stays a skip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest
from conftest import missing

def test_wants_a_browser(): missing("a browser")
def test_wants_a_package(): pytest.importorskip("no_such_package")
@pytest.mark.skip(reason="not today")
def test_is_put_off(): ...
@pytest.mark.xfail
def test_is_known_to_fail(): raise ValueError
@pytest.mark.cuda
def test_wants_a_gpu(): raise AssertionError
def test_is_well(): ...
"""


@pytest.fixture
def files(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = cuda")
    pytester.makepyfile(test_tests=TESTS, test_file="import pytest\npytest.importorskip('no_such_package')")
    return pytester


def test_a_skip_is_a_failure_in_ci(files: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    alone = files.runpytest("test_tests.py", "-rs")
    alone.assert_outcomes(failed=2, errors=1, skipped=1, xfailed=1, passed=1)
    alone.stdout.fnmatch_lines(["*a browser is not here*", "*In CI nothing is skipped but hardware*"])
    alone.stdout.fnmatch_lines(["SKIPPED*hardware: no CUDA device is visible*"])
    files.runpytest("test_file.py").assert_outcomes(errors=1)


def test_a_skip_is_a_skip_elsewhere(files: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    files.runpytest("-rs").assert_outcomes(skipped=5, xfailed=1, passed=1)


def test_the_developers_environment_has_every_extra() -> None:
    project = tomllib.loads((CONFTEST.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = re.search(r"reid-audit\[([a-z,]+)\]", " ".join(extras["dev"]))
    assert named is not None
    # fuzz: its package has no wheel for every machine; the tests know how to do without. wandb: its client is played.
    assert set(named[1].split(",")) == set(extras) - {"dev", "fuzz", "wandb"}
