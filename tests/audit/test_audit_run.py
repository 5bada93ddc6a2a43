"""Whole audits of the shipped targets on phantom films: verdicts that are earned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from audits import audit, policy, small, value
from safetensors.torch import load_file, save_file

from reid_audit.arch.identify import identify
from reid_audit.audit import Audited
from reid_audit.audit.restricted import SECTIONS
from reid_audit.checkpoint import load_checkpoint
from reid_audit.demo.targets import SPEC, DemoCase, demo_case
from reid_audit.preprocess import to_network
from reid_audit.records import Controls, Gap, Metric, Outcome, Reason, Unmeasured, find


@pytest.fixture(scope="module")
def leaking() -> DemoCase:
    return demo_case("overfit_cnn")


@pytest.fixture(scope="module")
def clean() -> DemoCase:
    return demo_case("cnn")


@pytest.fixture(scope="module")
def baseline(leaking: DemoCase) -> Audited:
    return audit(leaking, policy())


def test_the_clean_network_passes_with_every_control_met(clean: DemoCase) -> None:
    found = audit(clean, policy(steps=300))
    assert found.result.verdict.outcome is Outcome.PASS, found.result.verdict
    assert value(found, Metric.ATTACK_POWER).value <= 0.01
    assert value(found, Metric.MEMBERSHIP_CONTROL).value >= 0.5
    assert value(found, Metric.SCORER_SENSITIVITY).low >= 0.5  # type: ignore[operator]
    assert value(found, Metric.MEMBERSHIP_TPR).high <= 0.10  # type: ignore[operator]
    assert found.result.prior.overlap == "disjoint"
    assert [run.name for run in found.result.attack_runs] == ["target", "negative_control", "attack_power"]


def test_the_overfit_network_fails_and_the_power_run_is_spared(baseline: Audited) -> None:
    found = baseline
    assert found.result.verdict.outcome is Outcome.FAIL
    assert value(found, Metric.MEMBERSHIP_TPR).low > 0.05  # type: ignore[operator]
    assert find(found.result.measurements, Metric.ATTACK_POWER) == Unmeasured(
        metric=Metric.ATTACK_POWER, reason=Reason.NOT_NEEDED
    )
    assert found.evidence is not None
    rows = found.evidence.patients
    assert {p.patient_id[:2] for p in rows} == {"T:", "H:"}
    assert sum(p.reidentified for p in rows) == value(found, Metric.REIDENTIFIED_PATIENTS).value
    assert sum(p.recognised for p in rows) == value(found, Metric.RECOGNISED_PATIENTS).value
    assert all((p.membership_p is not None) == p.member == (p.linkage_p is not None) for p in rows)
    sections = [p for p in rows if p.films]
    assert len(sections) == min(len(rows), SECTIONS)
    assert {near.reconstruction_id for p in sections for near in p.nearest} <= set(found.evidence.reconstructions)
    first = found.evidence.identification[0]
    rate = value(found, Metric.IDENTIFICATION_RATE)
    assert (first.rank, first.training) == (1, rate.value)
    assert sum(p.rank == 1 for p in rows if p.member) == round(rate.value * rate.n)  # type: ignore[operator]
    assert found.evidence.family == "moments"
    assert found.evidence.explaining is not None
    assert 8 <= found.evidence.explaining <= 40


@pytest.mark.cuda
def test_a_gpu_gives_the_same_verdict(leaking: DemoCase, baseline: Audited) -> None:
    found = audit(leaking, policy(), device="cuda")
    assert found.result.verdict.outcome is baseline.result.verdict.outcome is Outcome.FAIL


@pytest.fixture(scope="module")
def light(leaking: DemoCase) -> DemoCase:
    """The overfit network with few films beside its own."""
    return leaking._replace(holdout=small(leaking.holdout, 130), prior=small(leaking.prior, 150))


def test_statistics_of_other_people_lower_the_scores(light: DemoCase, baseline: Audited, tmp_path: Path) -> None:
    target = identify(load_checkpoint(light.checkpoint).tensors, side=32)
    module = target.module.train()
    strangers = to_network(light.prior.images[:64], SPEC, target.match.channels)
    with torch.no_grad():
        for _ in range(80):
            module(strangers)
    tensors = load_file(light.checkpoint)
    renewed = {key: module.state_dict()[key].contiguous() for key in tensors}
    assert any(not torch.equal(tensors[key], renewed[key]) for key in tensors)
    save_file(renewed, tmp_path / "renewed.safetensors")
    before = value(baseline, Metric.MEMBERSHIP_AUC).value
    after = value(audit(light, policy(steps=2), checkpoint=tmp_path / "renewed.safetensors"), Metric.MEMBERSHIP_AUC)
    assert after.value < before - 0.2


def gaps(found: Audited) -> dict[Metric | None, Gap]:
    return {gap.metric: gap for gap in found.result.verdict.gaps}


def test_training_films_alone_give_indicators(light: DemoCase) -> None:
    found = audit(light, policy(steps=3, particles=(4, 8)), films=("reference",))
    assert (found.result.verdict.outcome, found.result.verdict.exit_code) == (Outcome.INCONCLUSIVE, 4)
    for metric in (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR, Metric.EXCHANGEABILITY_P):
        assert "--holdout" in gaps(found)[metric].remedy
    assert value(found, Metric.LIKELY_SAMPLES).indicator
    assert value(found, Metric.CONSENSUS).indicator
    near = (find(found.result.measurements, metric) for metric in (Metric.NEAREST_SSIM, Metric.NEAREST_NN))
    assert all(isinstance(m, Unmeasured) or m.indicator for m in near)
    assert not found.result.verdict.breaches


def test_films_of_another_site_demote_what_compares_with_them(light: DemoCase) -> None:
    """The overfit network, whose membership scores FAIL it beside films of the same source: here nothing may count."""
    dark = replace(light.holdout, images=0.7 * light.holdout.images)
    found = audit(
        light._replace(holdout=dark), policy(steps=2, controls=Controls(attack_power=False, membership_control=False))
    )
    verdict = found.result.verdict
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 4)
    assert value(found, Metric.EXCHANGEABILITY_P).value <= 0.01
    demoted = {d.metric: d.reason for d in verdict.demoted}
    for metric in (Metric.LINKAGE_P, Metric.LINKAGE_AUC, Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_AUC):
        assert demoted[metric] is Reason.NOT_EXCHANGEABLE
    for metric in (Metric.EXCHANGEABILITY_P, Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR):
        assert "from the same source" in gaps(found)[metric].remedy
    assert not verdict.breaches


def test_repeats_attack_from_other_seeds_and_say_so(light: DemoCase) -> None:
    found = audit(light, policy(steps=3, repeats=3))
    assert [run.name for run in found.result.attack_runs] == ["target", "target", "target", "negative_control"]
    assert found.result.verdict.outcome is Outcome.FAIL
    each = [f"seed {seed} fail (membership_auc, membership_tpr_at_1pct_fpr)" for seed in range(3)]
    assert found.result.verdict.warnings == (f"repeats: {', '.join(each)}",)
