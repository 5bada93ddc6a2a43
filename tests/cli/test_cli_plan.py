"""``plan`` says what a check would cost and give, attacks nothing for long, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import preflight_films as films
import pytest
import timm
from declared import NOT_SEARCHED, SIDE
from safetensors.torch import save_file

from reid_audit.cli import exit_code
from reid_audit.demo.targets import checkpoint_path
from reid_audit.records import Metric

POLICY = f"[references]\nwhen = 'off'\n{NOT_SEARCHED}"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Options of two good sides, in a working directory with a policy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REID_AUDIT_TRACEBACK", "1")
    (tmp_path / "reid-audit.toml").write_text(POLICY)
    reference = films.side(tmp_path / "t", range(60))
    holdout = films.side(tmp_path / "h", range(100, 210))
    return ("--reference", str(reference), "--holdout", str(holdout))


def plan(*words: str) -> int:
    return exit_code(["plan", str(checkpoint_path("cnn")), *words])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_stage_has_seconds_memory_and_what_it_measures(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reid-audit.toml").write_text(f"[preprocess]\nside = {SIDE}\n[references]\nwhen = 'off'\n")
    assert plan(*given, "--json") == 0
    found = document(capsys)
    assert found["schema"] == "reid-audit/preflight/1"
    stages = {one["stage"]: one for one in found["planned"]["stages"]}
    named = {"attack", "reading films", "preprocess_fit", "linkage", "membership", "power control", "reports"}
    assert named <= set(stages)
    assert all(one["seconds"] >= 0 and one["memory_bytes"] > 100 * 2**20 for one in stages.values())
    assert stages["attack"]["seconds"] > 0
    assert Metric.MEMBERSHIP_TPR.value in stages["membership"]["evidence"]
    assert found["planned"]["missing"] == found["planned"]["reduced"] == []
    assert not (tmp_path / "reid-audit-report").exists()


def test_a_budget_says_what_would_be_made_smaller_and_what_would_be_missing(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(*given, "--json") == 0
    free = document(capsys)["planned"]
    assert "preprocess_fit" not in {one["stage"] for one in free["stages"]}
    whole = sum(one["seconds"] for one in free["stages"])
    attack = next(one["seconds"] for one in free["stages"] if one["stage"] == "attack")
    assert plan(*given, "--json", "--budget", f"{max(45.0, whole - attack):.0f}s", "--profile", "deep") == 0
    short = document(capsys)["planned"]
    assert {one["stage"] for one in short["reduced"]} & {"attack", "metric", "attack_power"}


def test_a_person_sees_a_table_and_the_sum(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(*given, "--quiet") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "training films: 60 of 60 patients" in said
    assert "power control" in said
    assert "in all: " in said
    assert "memory: " in said


def test_what_a_check_would_refuse_a_plan_refuses(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("--reference", given[1], "--holdout", given[1]) == 3
    assert "patients in both cohorts: 60" in " ".join(capsys.readouterr().err.split())
    assert plan("--reference", given[1]) == 2
    assert "only INCONCLUSIVE is possible" in " ".join(capsys.readouterr().err.split())
    assert plan("--reference", given[1], "--indicators-only") == 0
    assert exit_code(["plan", str(tmp_path / "nothing.pt")]) == 3


def test_of_a_network_with_nothing_to_rebuild_no_reconstruction_is_promised(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = timm.create_model("test_vit", num_classes=0, in_chans=1, img_size=32)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    assert exit_code(["plan", str(tmp_path / "encoder.safetensors"), *given, "--json"]) == 0
    planned = document(capsys)["planned"]
    there = {metric for stage in planned["stages"] for metric in stage["evidence"]}
    assert {Metric.MEMBERSHIP_AUC.value, Metric.MEMBERSHIP_CONTROL.value} <= there
    assert not {Metric.LINKAGE_P.value, Metric.LIKELY_SAMPLES.value, Metric.ATTACK_POWER.value} & there
