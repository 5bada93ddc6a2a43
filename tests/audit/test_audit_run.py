"""Whole audits of the shipped targets on phantom films: verdicts that are earned, repeatable and resumable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from reid_audit.arch.identify import identify
from reid_audit.audit import Audited, AuditRequest, Films, PriorFilms, run_audit
from reid_audit.audit.power_control import ControlCache
from reid_audit.budget import Clock
from reid_audit.checkpoint import load_checkpoint
from reid_audit.cohort import Cohort, assemble
from reid_audit.demo.targets import SPEC, DemoCase, demo_case
from reid_audit.errors import CohortError
from reid_audit.observer import Event, Noted, Observer
from reid_audit.policy import policy_sha256
from reid_audit.preprocess import to_network
from reid_audit.records import (
    Budget,
    Controls,
    Gap,
    Measured,
    Metric,
    Outcome,
    Policy,
    PreprocessPolicy,
    Reason,
    StoppedBy,
    Unmeasured,
    find,
)
from reid_audit.store import RunStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class StoppedClock:
    """Time that moves only when asked: one second a look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def policy(
    steps: int = 20, *, particles: tuple[int, ...] = (16,), seconds: float | None = None, **more: object
) -> Policy:
    """Without age and sex: their predictor would be fitted anew in every audit, and has tests of its own."""
    return Policy(
        budget=Budget(steps=steps, particles=particles, seconds=seconds),
        preprocess=PreprocessPolicy(declared=SPEC),
        demographics="off",
        **more,  # type: ignore[arg-type]
    )


def audit(
    case: DemoCase,
    chosen: Policy,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    films: tuple[str, ...] = ("reference", "holdout"),
    clock: Clock | None = None,
    store: RunStore | None = None,
    cache: ControlCache | None = None,
    base: Path | None = None,
    observer: Observer | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Audited:
    request = AuditRequest(
        checkpoint=checkpoint or case.checkpoint,
        policy=chosen,
        policy_sha256=policy_sha256(chosen),
        seed=seed,
        base=base,
        device=device,
    )
    sides = Films(
        reference=(lambda _: case.reference) if "reference" in films else None,
        holdout=(lambda _: case.holdout) if "holdout" in films else None,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
    )
    return run_audit(
        request, sides, now=NOW, clock=clock or StoppedClock(), observer=observer, store=store, cache=cache
    )


@pytest.fixture(scope="module")
def leaking() -> DemoCase:
    return demo_case("overfit_cnn")


@pytest.fixture(scope="module")
def clean() -> DemoCase:
    return demo_case("cnn")


@pytest.fixture(scope="module")
def baseline(leaking: DemoCase) -> Audited:
    return audit(leaking, policy())


def value(found: Audited, metric: Metric) -> Measured:
    measurement = find(found.result.measurements, metric)
    assert isinstance(measurement, Measured), measurement
    return measurement


def test_the_clean_network_passes_with_every_control_met(clean: DemoCase) -> None:
    found = audit(clean, policy(steps=500))
    assert found.result.verdict.outcome is Outcome.PASS, found.result.verdict
    assert value(found, Metric.ATTACK_POWER).value <= 0.01
    assert value(found, Metric.MEMBERSHIP_CONTROL).value >= 0.5
    assert value(found, Metric.SCORER_SENSITIVITY).low >= 0.5  # type: ignore[operator]
    assert value(found, Metric.MEMBERSHIP_TPR).high <= 0.10  # type: ignore[operator]
    assert found.result.prior.overlap == "disjoint"
    assert [run.name for run in found.result.attack_runs] == ["target", "negative_control", "attack_power"]


def test_the_overfit_network_fails_and_the_power_arm_is_spared(baseline: Audited) -> None:
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
    assert all((p.membership_p is not None) == p.member == (p.linkage_p is not None) for p in rows)
    assert found.evidence.family == "moments"
    assert found.evidence.explaining is not None
    assert 8 <= found.evidence.explaining <= 40


@pytest.mark.cuda
def test_a_gpu_gives_the_same_verdict(leaking: DemoCase, baseline: Audited) -> None:
    found = audit(leaking, policy(), device="cuda")
    assert found.result.verdict.outcome is baseline.result.verdict.outcome is Outcome.FAIL


def test_same_seed_same_document_and_other_seed_another(leaking: DemoCase, baseline: Audited) -> None:
    first, again, other = baseline.result, *(audit(leaking, policy(), seed=seed).result for seed in (0, 1))
    assert first == again
    assert dict(first.digests)["reconstructions"] != dict(other.digests)["reconstructions"]


def test_statistics_of_other_people_lower_the_scores(leaking: DemoCase, baseline: Audited, tmp_path: Path) -> None:
    target = identify(load_checkpoint(leaking.checkpoint).tensors, side=32)
    module = target.module.train()
    strangers = to_network(leaking.prior.images[:64], SPEC, target.match.channels)
    with torch.no_grad():
        for _ in range(80):
            module(strangers)
    tensors = load_file(leaking.checkpoint)
    renewed = {key: module.state_dict()[key].contiguous() for key in tensors}
    assert any(not torch.equal(tensors[key], renewed[key]) for key in tensors)
    save_file(renewed, tmp_path / "renewed.safetensors")
    before = value(baseline, Metric.MEMBERSHIP_AUC).value
    after = value(audit(leaking, policy(steps=2), checkpoint=tmp_path / "renewed.safetensors"), Metric.MEMBERSHIP_AUC)
    assert after.value < before - 0.2


def test_without_films_nothing_passes(clean: DemoCase) -> None:
    found = audit(clean, policy(particles=(4, 8)), films=())
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.evidence is None
    assert value(found, Metric.CONSENSUS).indicator
    assert isinstance(find(found.result.measurements, Metric.LINKAGE_P), Unmeasured)


def gaps(found: Audited) -> dict[Metric | None, Gap]:
    return {gap.metric: gap for gap in found.result.verdict.gaps}


def test_training_films_alone_give_indicators(leaking: DemoCase) -> None:
    light = leaking._replace(prior=small(leaking.prior, 150))
    found = audit(light, policy(steps=3, particles=(4, 8)), films=("reference",))
    assert (found.result.verdict.outcome, found.result.verdict.exit_code) == (Outcome.INCONCLUSIVE, 4)
    for metric in (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR, Metric.EXCHANGEABILITY_P):
        assert "--holdout" in gaps(found)[metric].remedy
    assert value(found, Metric.LIKELY_SAMPLES).indicator
    assert value(found, Metric.CONSENSUS).indicator
    near = (find(found.result.measurements, metric) for metric in (Metric.NEAREST_SSIM, Metric.NEAREST_NN))
    assert all(isinstance(m, Unmeasured) or m.indicator for m in near)
    assert not found.result.verdict.breaches


def test_films_of_another_site_demote_what_compares_with_them(leaking: DemoCase) -> None:
    """The overfit network, whose membership scores FAIL it beside films of the same source: here nothing may count."""
    some = small(leaking.holdout, 130)
    dark = replace(some, images=0.7 * some.images)
    elsewhere = leaking._replace(holdout=dark, prior=small(leaking.prior, 150))
    found = audit(elsewhere, policy(steps=2, controls=Controls(attack_power=False, membership_control=False)))
    verdict = found.result.verdict
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INCONCLUSIVE, 4)
    assert value(found, Metric.EXCHANGEABILITY_P).value <= 0.01
    demoted = {d.metric: d.reason for d in verdict.demoted}
    for metric in (Metric.LINKAGE_P, Metric.LINKAGE_AUC, Metric.MEMBERSHIP_TPR, Metric.MEMBERSHIP_AUC):
        assert demoted[metric] is Reason.NOT_EXCHANGEABLE
    for metric in (Metric.EXCHANGEABILITY_P, Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR):
        assert "from the same source" in gaps(found)[metric].remedy
    assert not verdict.breaches


def test_screening_is_headed_as_such(clean: DemoCase) -> None:
    verdict = audit(clean, policy(particles=(4, 8), evidence="checkpoint"), films=()).result.verdict
    assert verdict.screening


def test_a_control_left_out_of_the_run_is_not_met(clean: DemoCase) -> None:
    chosen = policy(steps=2, controls=Controls(attack_power=True, membership_control=True))
    few = clean._replace(holdout=small(clean.holdout, 12))
    found = audit(few, chosen)
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert isinstance(find(found.result.measurements, Metric.ATTACK_POWER), Unmeasured)


def small(side: Cohort, patients: int) -> Cohort:
    """The films of a cohort's first patients."""
    keep = side.patient_index() < patients
    rows = torch.from_numpy(keep.nonzero()[0])
    return assemble(side.images[rows], side.patients[keep], side.ages[keep], side.sexes[keep], role=side.summary.role)


def test_budget_that_ends_is_inconclusive_and_says_so(clean: DemoCase) -> None:
    found = audit(clean, policy(steps=200, seconds=60.0), clock=StoppedClock(1.0))
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.result.attack_runs[0].spend.stopped_by is StoppedBy.SECONDS
    assert any("budget" in gap.text for gap in found.result.verdict.gaps)


def test_shared_patients_are_refused(clean: DemoCase) -> None:
    with pytest.raises(CohortError):
        audit(clean._replace(holdout=clean.reference), policy(steps=2))


def test_resume_reuses_finished_arms_of_the_same_inputs_only(leaking: DemoCase, tmp_path: Path) -> None:
    first = audit(leaking, policy(steps=3), store=RunStore(tmp_path))
    again = RunStore(tmp_path / "again", earlier=(tmp_path / "empty", tmp_path))
    resumed = audit(leaking, policy(steps=3), store=again)
    assert resumed.result.digests == first.result.digests
    assert resumed.result.attack_runs[0].spend == first.result.attack_runs[0].spend
    assert not (tmp_path / "again").exists()
    (tmp_path / "target.safetensors").write_bytes(b"damaged")
    assert audit(leaking, policy(steps=3), store=again).result.digests == first.result.digests
    assert (tmp_path / "target.safetensors").read_bytes() == b"damaged"
    changed = audit(leaking, policy(steps=4), store=again)
    assert changed.result.digests != first.result.digests
    assert (tmp_path / "again" / "target.safetensors").stat().st_mode & 0o777 == 0o600


@dataclass
class Notes:
    said: list[str] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.message)


def test_canaries_of_other_films_are_not_taken_over(clean: DemoCase, tmp_path: Path) -> None:
    audit(clean, policy(steps=2), store=RunStore(tmp_path))
    same, other = Notes(), Notes()
    store = RunStore(tmp_path / "again", earlier=(tmp_path,))
    audit(clean, policy(steps=2), store=store, observer=same)
    fewer = clean._replace(holdout=small(clean.holdout, clean.holdout.summary.patients - 1))
    audit(fewer, policy(steps=2), store=store, observer=other)
    assert "attack power: taken over from an earlier run" in same.said
    assert "target: taken over from an earlier run" in other.said
    assert "attack power: no earlier run finished it from the same inputs" in other.said


def test_a_base_is_named_by_its_digest(leaking: DemoCase, baseline: Audited, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    shaken = torch.Generator().manual_seed(0)
    tensors = {
        name: value + 1e-3 * torch.randn(value.shape, generator=shaken) if name.endswith("weight") else value
        for name, value in load_file(leaking.checkpoint).items()
    }
    save_file(tensors, base)
    found = audit(leaking, policy(steps=2), base=base)
    assert dict(found.result.digests)["base"] == sha256(base.read_bytes()).hexdigest()
    assert "base" not in dict(baseline.result.digests)


def test_the_power_arm_is_paid_once_for_the_same_inputs(clean: DemoCase, tmp_path: Path) -> None:
    cache = ControlCache(tmp_path / "cache")
    first = audit(clean, policy(steps=3), cache=cache)
    kept = list((tmp_path / "cache").iterdir())
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o777 == 0o600
    again = audit(clean, policy(steps=3), cache=cache)
    assert again.result.attack_runs[-1].note == "kept from an earlier audit"
    assert again.result.measurements == first.result.measurements
    key = kept[0].stem.removeprefix("power-")
    assert cache.load(key) is not None
    kept[0].write_text("{}")
    assert cache.load(key) is None


def test_repeats_attack_from_other_seeds_and_say_so(leaking: DemoCase) -> None:
    found = audit(leaking, policy(steps=3, repeats=3))
    assert [run.name for run in found.result.attack_runs] == ["target", "target", "target", "negative_control"]
    assert found.result.verdict.outcome is Outcome.FAIL
    each = [f"seed {seed} fail (membership_tpr_at_1pct_fpr)" for seed in range(3)]
    assert found.result.verdict.warnings == (f"repeats: {', '.join(each)}",)


def test_a_file_by_another_name_gets_the_same_verdict(leaking: DemoCase, baseline: Audited, tmp_path: Path) -> None:
    copy = tmp_path / "cnn.safetensors"
    copy.write_bytes(leaking.checkpoint.read_bytes())
    assert audit(leaking, policy(), checkpoint=copy).result == baseline.result
