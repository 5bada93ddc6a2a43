"""Fixtures every test folder shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent


def missing(what: str) -> None:
    """Skip because ``what`` is absent here; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"{what} is not here")


@pytest.fixture(scope="session")
def real_films() -> Path:
    """Folder of the real chest films (manifest.csv, images/), or a skip."""
    folder = REPOSITORY.parent / "shared" / "data" / "nih_cxr14"
    if not (folder / "manifest.csv").exists():
        missing("../shared/data/nih_cxr14")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(int(os.environ.get("REID_AUDIT_TEST_THREADS", "2")))
