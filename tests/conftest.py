"""Fixtures every test folder shares, what makes a run repeatable, and what a skip means."""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NO_GPU = "hardware: no CUDA device is visible (make gpu-check)"

LONGEST = (
    "test_cli_sweep",
    "test_audit_run",
    "test_notebooks",
    "test_cli_exit_codes",
    "test_audit_references",
    "test_audit_budget",
    "test_audit_mitigation",
    "test_colour",
)
"""Files of few and slow tests. They begin first, or one process would wait for the other's last."""

pytest_plugins = ["pytester"]


def missing(what: str) -> NoReturn:
    """Skip because ``what`` is absent here; in CI that is a failure, as every skip is."""
    pytest.skip(f"{what} is not here")


def pytest_configure() -> None:
    # Before anything imports torch. Networks of tests are too small for threads, and several runs may share a machine.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # ``--device auto`` would take a GPU where there is one; `make gpu-check` shows it to the tests marked cuda.
    if os.environ.get("TEST_DEVICE") != "cuda":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not importlib.import_module("torch").cuda.is_available():
        pytest.skip(NO_GPU)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    count_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    count_skip(report)
    return report


def count_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI a skip is a failure that says why, except for hardware."""
    if os.environ.get("CI") != "true" or not report.skipped or not isinstance(report.longrepr, tuple):
        return
    path, line, reason = report.longrepr
    if not reason.removeprefix("Skipped: ").startswith("hardware: "):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason}\nIn CI nothing is skipped but hardware: install what is missing."


@pytest.fixture(scope="session")
def real_films() -> Path:
    """Folder of the real chest films (manifest.csv, images/), or a skip."""
    folder = REPOSITORY.parent / "shared" / "data" / "nih_cxr14"
    if not (folder / "manifest.csv").exists():
        missing("../shared/data/nih_cxr14")
    return folder


@pytest.fixture(autouse=True)
def _alike_in_every_order() -> None:
    """The same threads and the same random numbers, whichever test ran before."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
