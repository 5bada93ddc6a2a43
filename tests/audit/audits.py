"""How the tests of whole audits ask for one: without a clock of their own, without age and sex, with few people."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from reid_audit.audit import Audited, AuditRequest, Environment, Films, PriorFilms, run_audit
from reid_audit.audit.power_control import ControlCache
from reid_audit.budget import Clock
from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.demo.targets import SPEC, DemoCase
from reid_audit.observer import Event, Noted, Observer, SilentObserver
from reid_audit.policy import policy_sha256
from reid_audit.records import Budget, Measured, Metric, Policy, PreprocessPolicy, References, find
from reid_audit.store import RunStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEVICE: Literal["cpu", "cuda"] = "cuda" if os.environ.get("TEST_DEVICE") == "cuda" else "cpu"
"""Where the audits of these tests run; `make gpu-check` runs them all on CUDA."""


class StoppedClock:
    """Time that moves only when asked: one second a look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@dataclass
class Notes:
    said: list[str] = field(default_factory=list)

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.message)


def policy(
    steps: int = 20, *, particles: tuple[int, ...] = (16,), seconds: float | None = None, **more: object
) -> Policy:
    """Without age and sex and references: both would be fitted anew in every audit, and have tests of their own."""
    more.setdefault("references", References(when="off"))
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
    device: Literal["cpu", "cuda"] = DEVICE,
) -> Audited:
    request = AuditRequest(
        checkpoint=checkpoint or case.checkpoint,
        policy=chosen,
        policy_sha256=policy_sha256(chosen),
        seed=seed,
        base=base,
        device=device,
        deterministic=device == "cuda",
    )
    sides = Films(
        reference=(lambda _: case.reference) if "reference" in films else None,
        holdout=(lambda _: case.holdout) if "holdout" in films else None,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
    )
    environment = Environment(
        NOW,
        clock or StoppedClock(),
        observer=observer or SilentObserver(),
        store=store or RunStore(),
        cache=cache or ControlCache(),
    )
    return run_audit(request, sides, environment)


def value(found: Audited, metric: Metric) -> Measured:
    measurement = find(found.result.measurements, metric)
    assert isinstance(measurement, Measured), measurement
    return measurement


def small(side: Cohort, patients: int) -> Cohort:
    """The films of a cohort's first patients."""
    keep = side.patient_index() < patients
    rows = torch.from_numpy(keep.nonzero()[0])
    return assemble(
        side.images[rows], Subjects(side.patients[keep], side.ages[keep], side.sexes[keep]), role=side.summary.role
    )
