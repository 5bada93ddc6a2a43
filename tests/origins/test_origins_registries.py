"""MLflow with a store of files, and a stand-in for W&B: what is read from them, and what is written to MLflow."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import results
import torch
import torchvision
from safetensors.torch import save

from reid_audit.cli import exit_code
from reid_audit.records import Measured, Metric, find
from reid_audit.report import publish
from reid_audit.report.command import command
from reid_audit.runs import RESULT
from reid_audit.store import write_private

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    return mlflow.MlflowClient()


@pytest.fixture
def run(client: Any) -> str:
    return str(client.create_run(client.create_experiment("x")).info.run_id)


@pytest.fixture(scope="module")
def weights() -> bytes:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=2)
    return bytes(save({key: value.contiguous() for key, value in network.state_dict().items()}))


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert [line.split(":")[0] for line in said.splitlines()][1:] == ["closest", "help"], said
    return said


def test_an_artifact_is_read(
    client: Any, run: str, weights: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(weights)
    client.log_artifact(run, str(tmp_path / "model.safetensors"), "weights")
    for uri in (f"runs:/{run}/weights", f"mlflow://{run}/weights/model.safetensors"):
        assert exit_code(["inspect", "--json", uri]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["origin"].startswith(f"runs:/{run}/weights")
        assert found["checkpoint"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert exit_code(["inspect", f"runs:/{run}/nothing"]) == 3
    assert "MLFLOW_TRACKING_URI" in refused(capsys)
    for wrong in ("runs:/", f"runs:/{run}", "mlflow://", f"runs:/{run}/../x"):
        assert exit_code(["inspect", wrong]) == 2
        refused(capsys)


def test_a_run_gets_reports_and_figures_and_nothing_restricted(
    client: Any, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = results.failing()
    write_private(tmp_path / "out" / RESULT, result.model_dump_json())
    (tmp_path / "out" / "restricted" / "evidence.html").write_text("a patient", encoding="utf-8")
    assert exit_code(["log", str(tmp_path / "out"), f"runs:/{run}"]) == 0
    written = client.get_run(run).data
    assert written.tags["reid-audit.verdict"] == "fail"
    assert written.tags["reid-audit.checkpoint_sha256"] == result.checkpoint.sha256
    measured = find(result.measurements, Metric.LINKAGE_AUC)
    assert isinstance(measured, Measured)
    assert written.metrics["reid-audit.linkage_auc"] == pytest.approx(round(measured.value, 4), abs=1e-3)
    names = {file.path for file in client.list_artifacts(run, "reid-audit")}
    assert {"reid-audit/report.html", "reid-audit/report.json"} <= names
    assert not any("restricted" in name or "evidence" in name for name in names)
    capsys.readouterr()
    assert exit_code(["log", str(tmp_path / "out"), "no such run"]) == 2
    refused(capsys)
    assert exit_code(["log", str(tmp_path / "out"), "0" * 32]) == 3
    refused(capsys)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert exit_code(["inspect", "runs:/a/b"]) == 2
    assert "reid-audit[mlflow]" in refused(capsys)
    assert exit_code(["inspect", "wandb://a/b/c"]) == 2
    assert "reid-audit[wandb]" in refused(capsys)


def test_wandb_is_asked_for_one_version(
    weights: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client has no server here: this pins the calls that are made, not what a server answers."""
    asked: list[str] = []

    class Artifact:
        version = "v3"

        def download(self, root: str) -> str:
            Path(root).mkdir()
            (Path(root) / "model.safetensors").write_bytes(weights)
            return root

    class Api:
        def artifact(self, name: str) -> Artifact:
            asked.append(name)
            if "nothing" in name:
                raise ValueError("artifact 'nothing' not found")
            return Artifact()

    stand_in: Any = types.ModuleType("wandb")
    stand_in.Api = Api
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    assert exit_code(["inspect", "--json", "wandb://hospital/chest/resnet"]) == 0
    assert json.loads(capsys.readouterr().out)["origin"] == "wandb://hospital/chest/resnet:v3"
    assert asked == ["hospital/chest/resnet:latest"]
    assert exit_code(["inspect", "wandb://hospital/chest/nothing:v1"]) == 3
    assert "not found" in refused(capsys)
    assert exit_code(["inspect", "wandb://hospital"]) == 2
    refused(capsys)


def test_reports_show_a_commit_and_no_name() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"

    def shown(uri: str) -> str:
        result = results.passing()
        options = (*result.options, ("origin", uri))
        return command(publish(result.model_copy(update={"options": options})))

    assert shown(f"hf://jane/doe@{commit}").startswith(f"reid-audit check hf://OWNER/MODEL@{commit} ")
    assert "doe" not in shown(f"hf://jane/doe@{commit}/doe.pt")
    for other in ("runs:/doe/x", "hf://jane/doe@doe", "wandb://a/doe/c:v1"):
        assert shown(other).startswith("reid-audit check MODEL ")
        assert "origin" not in shown(other)
