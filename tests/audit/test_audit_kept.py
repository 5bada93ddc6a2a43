"""What every audit keeps to, on a network that takes two seconds: budgets, seeds, names, and what earlier runs left."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import timm
import torch
from audits import Notes, StoppedClock, audit, policy, small, value
from safetensors.torch import load_file, save_file

from reid_audit.audit import Audited
from reid_audit.audit.power_control import ControlCache
from reid_audit.demo.targets import DemoCase, demo_case
from reid_audit.errors import CohortError
from reid_audit.records import Controls, Metric, Outcome, StoppedBy, Unmeasured, find
from reid_audit.store import RunStore


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DemoCase:
    """Few people and an untrained network of 13 statistics layers, which hold those of the training films."""
    case = demo_case("cnn")
    case = case._replace(
        reference=small(case.reference, 40), holdout=small(case.holdout, 110), prior=small(case.prior, 150)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model("test_efficientnet", in_chans=1, num_classes=2).train()
    with torch.no_grad():
        for _ in range(30):
            module(case.reference.images)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_file(module.state_dict(), path)
    return case._replace(checkpoint=path)


@pytest.fixture(scope="module")
def first(tiny: DemoCase) -> Audited:
    return audit(tiny, policy(steps=3))


def test_same_seed_same_document_and_other_seed_another(tiny: DemoCase, first: Audited) -> None:
    again, other = (audit(tiny, policy(steps=3), seed=seed).result for seed in (0, 1))
    assert first.result == again
    assert dict(first.result.digests)["reconstructions"] != dict(other.digests)["reconstructions"]


def test_without_films_nothing_passes(tiny: DemoCase) -> None:
    found = audit(tiny, policy(particles=(4, 8)), films=())
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.evidence is None
    assert value(found, Metric.CONSENSUS).indicator
    assert isinstance(find(found.result.measurements, Metric.LINKAGE_P), Unmeasured)


def test_screening_is_headed_as_such(tiny: DemoCase) -> None:
    verdict = audit(tiny, policy(particles=(4, 8), evidence="checkpoint"), films=()).result.verdict
    assert verdict.screening


def test_a_control_left_out_of_the_run_is_not_met(tiny: DemoCase) -> None:
    chosen = policy(steps=2, controls=Controls(attack_power=True, membership_control=True))
    few = tiny._replace(holdout=small(tiny.holdout, 12))
    found = audit(few, chosen)
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert isinstance(find(found.result.measurements, Metric.ATTACK_POWER), Unmeasured)


def test_budget_that_ends_is_inconclusive_and_says_so(tiny: DemoCase) -> None:
    found = audit(tiny, policy(steps=200, seconds=60.0), clock=StoppedClock(1.0))
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.result.attack_runs[0].spend.stopped_by is StoppedBy.SECONDS
    assert any("budget" in gap.text for gap in found.result.verdict.gaps)


def test_shared_patients_are_refused(tiny: DemoCase) -> None:
    with pytest.raises(CohortError):
        audit(tiny._replace(holdout=tiny.reference), policy(steps=2))


def test_resume_reuses_finished_runs_of_the_same_inputs_only(tiny: DemoCase, tmp_path: Path) -> None:
    first = audit(tiny, policy(steps=3), store=RunStore(tmp_path))
    again = RunStore(tmp_path / "again", earlier=(tmp_path / "empty", tmp_path))
    resumed = audit(tiny, policy(steps=3), store=again)
    assert resumed.result.digests == first.result.digests
    assert resumed.result.attack_runs[0].spend == first.result.attack_runs[0].spend
    assert not (tmp_path / "again").exists()
    (tmp_path / "target.safetensors").write_bytes(b"damaged")
    assert audit(tiny, policy(steps=3), store=again).result.digests == first.result.digests
    assert (tmp_path / "target.safetensors").read_bytes() == b"damaged"
    changed = audit(tiny, policy(steps=4), store=again)
    assert changed.result.digests != first.result.digests
    assert (tmp_path / "again" / "target.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_control_after_a_resume_is_the_control_of_an_audit_that_nothing_happened_to(
    tiny: DemoCase, tmp_path: Path
) -> None:
    """The attack lays the network's kernels out anew; where it is taken over, they have to lie so all the same."""
    first = audit(tiny, policy(steps=3), store=RunStore(tmp_path))
    (tmp_path / "attack_power.safetensors").unlink()
    notes = Notes()
    store = RunStore(tmp_path / "again", earlier=(tmp_path,))
    resumed = audit(tiny, policy(steps=3), store=store, observer=notes)
    assert "target: taken over from an earlier run" in notes.said
    assert "attack power: no earlier run finished it from the same inputs" in notes.said
    ends = [
        [(run.name, run.energy_start, run.energy_end) for run in found.result.attack_runs] for found in (first, resumed)
    ]
    assert ends[0] == ends[1]
    assert resumed.result.measurements == first.result.measurements


def test_what_cannot_be_kept_costs_a_word_and_nothing_else(tiny: DemoCase, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be here")
    notes = Notes()
    store, cache = RunStore(tmp_path / "file" / "runs"), ControlCache(tmp_path / "file" / "cache")
    found = audit(tiny, policy(steps=3), store=store, cache=cache, observer=notes)
    assert found.result.measurements == audit(tiny, policy(steps=3)).result.measurements
    said = [line for line in notes.said if "is not kept" in line]
    assert [line.partition(" is not kept: ")[0] for line in said] == [
        *("target", "negative control", "attack power", "attack_power")
    ]


def test_canaries_of_other_films_are_not_taken_over(tiny: DemoCase, tmp_path: Path) -> None:
    audit(tiny, policy(steps=2), store=RunStore(tmp_path))
    same, other = Notes(), Notes()
    store = RunStore(tmp_path / "again", earlier=(tmp_path,))
    audit(tiny, policy(steps=2), store=store, observer=same)
    fewer = tiny._replace(holdout=small(tiny.holdout, tiny.holdout.summary.patients - 1))
    audit(fewer, policy(steps=2), store=store, observer=other)
    assert "attack power: taken over from an earlier run" in same.said
    assert "target: taken over from an earlier run" in other.said
    assert "attack power: no earlier run finished it from the same inputs" in other.said


def test_a_base_is_named_by_its_digest(tiny: DemoCase, first: Audited, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    shaken = torch.Generator().manual_seed(0)
    tensors = {
        name: value + 1e-3 * torch.randn(value.shape, generator=shaken) if name.endswith("weight") else value
        for name, value in load_file(tiny.checkpoint).items()
    }
    save_file(tensors, base)
    found = audit(tiny, policy(steps=2), base=base)
    assert dict(found.result.digests)["base"] == sha256(base.read_bytes()).hexdigest()
    assert "base" not in dict(first.result.digests)


def test_the_power_run_is_paid_once_for_the_same_inputs(tiny: DemoCase, tmp_path: Path) -> None:
    cache = ControlCache(tmp_path / "cache")
    first = audit(tiny, policy(steps=3), cache=cache)
    kept = list((tmp_path / "cache").iterdir())
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o777 == 0o600
    again = audit(tiny, policy(steps=3), cache=cache)
    assert again.result.attack_runs[-1].note == "kept from an earlier audit"
    assert again.result.measurements == first.result.measurements
    key = kept[0].stem.removeprefix("power-")
    assert cache.load(key) is not None
    kept[0].write_text("{}")
    assert cache.load(key) is None


def test_a_file_by_another_name_gets_the_same_verdict(tiny: DemoCase, first: Audited, tmp_path: Path) -> None:
    copy = tmp_path / "cnn.safetensors"
    copy.write_bytes(tiny.checkpoint.read_bytes())
    assert audit(tiny, policy(steps=3), checkpoint=copy).result == first.result
