"""The check for machines with a GPU says at once that there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check


def test_without_cuda_nothing_is_run_and_the_code_is_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "found.json"
    monkeypatch.setattr("sys.argv", ["gpu_check", "--data", str(tmp_path), "--out", str(out)])
    assert gpu_check.main() == 3
    assert "no CUDA device" in capsys.readouterr().err
    assert not out.exists()
