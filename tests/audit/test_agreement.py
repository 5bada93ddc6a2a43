"""Several attack seeds: an outcome counts where enough of them share it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from reid_audit.audit import AuditRequest
from reid_audit.audit.inputs import inputs_digest
from reid_audit.audit.pacing import FEWEST_STEPS, rounded
from reid_audit.audit.power_control import digest_of
from reid_audit.audit.setup import Setup
from reid_audit.cohort import Subjects, assemble
from reid_audit.judge import agreed
from reid_audit.records import Breach, Budget, Controls, Gap, Metric, Outcome, Policy, PreprocessSpec, Verdict

FAIL = Verdict(outcome=Outcome.FAIL, reason="f.", breaches=(Breach(metric=Metric.LINKAGE_P, text="p"),))
PASS = Verdict(outcome=Outcome.PASS, reason="p.")
OPEN = Verdict(outcome=Outcome.INCONCLUSIVE, reason="i.", gaps=(Gap(text="a", remedy="b"),))


def test_one_seed_speaks_for_itself() -> None:
    assert agreed([FAIL], [3], 1) is FAIL


@pytest.mark.parametrize("verdicts", [[PASS, FAIL], [FAIL, PASS], [PASS, OPEN], [FAIL, OPEN, PASS]])
def test_disagreement_is_inconclusive_and_names_every_seed(verdicts: list[Verdict]) -> None:
    found = agreed(verdicts, range(len(verdicts)), len(verdicts))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert not found.breaches
    assert all(f"seed {k} {v.outcome.value}" in found.gaps[0].text for k, v in enumerate(verdicts))


@pytest.mark.parametrize(("verdicts", "expected"), [([PASS, PASS, FAIL], PASS), ([OPEN, FAIL, FAIL], FAIL)])
def test_two_of_three(verdicts: list[Verdict], expected: Verdict) -> None:
    found = agreed(verdicts, (5, 6, 7), 2)
    assert found.outcome is expected.outcome
    assert found.reason == expected.reason
    assert "seed 7" in found.warnings[-1]
    assert agreed(verdicts, (5, 6, 7), 3).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("repeats", "agreement"), [(3, 1), (2, 1), (3, 4)])
def test_agreement_is_a_majority(repeats: int, agreement: int) -> None:
    with pytest.raises(ValidationError, match="more than half"):
        Policy(repeats=repeats, agreement=agreement)


def test_kept_controls_belong_to_the_attacks_inputs_and_to_the_films() -> None:
    films = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    cohort = assemble(
        films, Subjects(np.array(["a", "b", "c"]), np.full(3, np.nan), np.array(["", "", ""])), role="holdout"
    )
    known = digest_of("inputs", cohort, 0.1, True)
    assert known == digest_of("inputs", cohort, 0.1, True)
    others = (
        digest_of("other inputs", cohort, 0.1, True),
        digest_of("inputs", cohort, 0.2, True),
        digest_of("inputs", cohort, 0.1, False),
        digest_of("inputs", replace(cohort, images=films.flip(0)), 0.1, True),
        digest_of("inputs", replace(cohort, patients=np.array(["a", "b", "b"])), 0.1, True),
        digest_of("inputs", replace(cohort, strata=np.array(["PA", "AP", "PA"])), 0.1, True),
        digest_of("inputs", replace(cohort, labels=np.array(["well", "ill", "ill"])), 0.1, True),
    )
    assert len({known, *others}) == 8


def _setup(**changed: object) -> Setup:
    """The parts of a setup that enter the key of what is kept."""
    given: dict[str, object] = {
        "checkpoint": "a",
        "prior": "b",
        "space": "c",
        "network": "model",
        "preprocess": PreprocessSpec(side=32),
        "budget": Budget(),
        "samples": 2048,
        "architecture": "resnet18",
        "head": "softmax",
        "base": None,
        "device": "cpu",
        **changed,
    }
    part = SimpleNamespace
    task = part(
        prior=part(card=part(sha256=given["prior"])),
        space=part(card=part(sha256=given["space"])),
        preprocess=given["preprocess"],
        budget=given["budget"],
        samples=given["samples"],
        target=part(match=part(name=given["architecture"], head=given["head"])),
        base=given["base"],
    )
    checkpoint = part(name=given["network"], summary=part(sha256=given["checkpoint"]))
    return part(checkpoint=checkpoint, task=task, device=torch.device(str(given["device"])))  # type: ignore[return-value]


REQUEST = AuditRequest(checkpoint=Path("model.pt"), policy_sha256="0" * 64)


@pytest.mark.parametrize(
    ("request_changes", "setup_changes"),
    [
        ({}, {"checkpoint": "other"}),
        ({}, {"prior": "other"}),
        ({}, {"space": "other"}),
        ({}, {"preprocess": PreprocessSpec(side=32, mean=(0.5,))}),
        ({}, {"preprocess": PreprocessSpec(side=64)}),
        ({}, {"network": "model_ema"}),
        ({}, {"budget": Budget(steps=100)}),
        ({}, {"budget": Budget(particles=(8,))}),
        ({}, {"architecture": "resnet50"}),
        ({}, {"head": "sigmoid"}),
        ({}, {"base": SimpleNamespace(module=torch.nn.Linear(2, 2))}),
        ({}, {"samples": 1024}),
        ({}, {"device": "cuda"}),
        ({"seed": 1}, {}),
        ({"method": "pixel"}, {}),
        ({"deterministic": True}, {}),
        ({"factory": "package.module:function"}, {}),
        ({"policy": Policy(controls=Controls(canaries=16))}, {}),
    ],
)
def test_kept_runs_belong_to_every_input(request_changes: dict[str, object], setup_changes: dict[str, object]) -> None:
    known = inputs_digest(REQUEST, _setup())
    assert known == inputs_digest(REQUEST, _setup())
    assert known != inputs_digest(REQUEST.model_copy(update=request_changes), _setup(**setup_changes))


def test_kept_runs_belong_to_a_base_with_its_statistics() -> None:
    """Statistics that came with the base, unchanged, are left out of the attack."""
    base = torch.nn.BatchNorm2d(4)
    known = inputs_digest(REQUEST, _setup(base=SimpleNamespace(module=base)))
    base.running_mean = torch.ones(4)
    assert known != inputs_digest(REQUEST, _setup(base=SimpleNamespace(module=base)))


def test_kept_runs_belong_to_one_state_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    known = inputs_digest(REQUEST, _setup())
    monkeypatch.setattr("reid_audit.audit.inputs.code_digest", lambda _: "another")
    assert known != inputs_digest(REQUEST, _setup())


def test_steps_that_fit_a_time_budget_lie_on_a_coarse_grid() -> None:
    """So that two machines of nearly the same speed have the same key."""
    found = [rounded(steps) for steps in range(FEWEST_STEPS, 1000)]
    assert found[0] == FEWEST_STEPS
    assert all(0.89 * steps <= kept <= steps for steps, kept in enumerate(found, start=FEWEST_STEPS))
    assert found == sorted(found)
    assert len(set(found)) < 35
