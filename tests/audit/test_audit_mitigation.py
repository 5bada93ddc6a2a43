"""A whole mitigation: the original audited, a copy written, the copy audited, and a verdict that nothing blinded."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audits import DEVICE, NOW, StoppedClock, policy, small

from reid_audit.audit import AuditRequest, Environment, Films, PriorFilms, mitigation
from reid_audit.audit.mitigation import Mitigated, MitigationRequest, audit_mitigated
from reid_audit.budget import Meter, Pace
from reid_audit.cohort import Cohort
from reid_audit.demo.targets import DemoCase, demo_case
from reid_audit.errors import CohortError, MitigationError
from reid_audit.mitigate.interface import Given, Public
from reid_audit.policy import policy_sha256
from reid_audit.records import Measured, Metric, Outcome, PreprocessSpec, find


@pytest.fixture(scope="module")
def case() -> DemoCase:
    found = demo_case("overfit_cnn")
    labelled = (replace(side, labels=side.sexes) for side in (found.reference, small(found.holdout, 140)))
    reference, holdout = labelled
    return found._replace(reference=reference, holdout=holdout, prior=small(found.prior, 200))


def run(case: DemoCase, out: Path, *names: str, public: Cohort | None = None) -> Mitigated:
    chosen = policy(3, particles=(4,))
    request = AuditRequest(
        checkpoint=case.checkpoint, policy=chosen, policy_sha256=policy_sha256(chosen), seed=1, device=DEVICE
    )
    films = Films(
        reference=lambda _: case.reference,
        holdout=lambda _: case.holdout,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
    )
    asked = MitigationRequest(
        request,
        names,
        out / "copy.safetensors",
        public=None if public is None else lambda _: public,
        prior_samples=public is None,
    )
    return audit_mitigated(asked, films, Environment(NOW, StoppedClock()))


def test_replaced_statistics_end_the_breach_and_are_never_called_safe(case: DemoCase, tmp_path: Path) -> None:
    digest = hashlib.sha256(case.checkpoint.read_bytes()).hexdigest()
    found = run(case, tmp_path, "recompute-bn").result
    assert hashlib.sha256(case.checkpoint.read_bytes()).hexdigest() == digest == found.before.checkpoint.sha256
    assert found.after.checkpoint.sha256 == hashlib.sha256((tmp_path / "copy.safetensors").read_bytes()).hexdigest()
    assert found.before.verdict.outcome is Outcome.FAIL
    assert found.after.verdict.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    assert found.before.architecture.data_statistics > 0 == found.after.architecture.data_statistics
    assert found.after.preprocess == found.before.preprocess
    assert found.after.seed == found.before.seed == 1
    before, after = (find(side.measurements, Metric.MEMBERSHIP_AUC) for side in (found.before, found.after))
    assert isinstance(before, Measured)
    assert isinstance(after, Measured)
    assert before.value > 0.95 > after.value
    rows = {row.name: row for row in found.utility}
    assert set(rows) == {"accuracy", "auc", "loss"}
    assert rows["accuracy"].low <= rows["accuracy"].change <= rows["accuracy"].high
    assert found.public_films == len(case.prior.images)


def test_fine_tuning_on_other_films_ends_the_breach(case: DemoCase, tmp_path: Path) -> None:
    """And is called INCONCLUSIVE: nothing shows on 16 patients that nothing is left."""
    public = replace(case.prior, labels=case.prior.sexes)
    found = run(case, tmp_path, "fine-tune", public=public).result
    assert Metric.MEMBERSHIP_AUC in {breach.metric for breach in found.before.verdict.breaches}
    assert found.after.verdict.breaches == ()
    assert found.after.verdict.outcome is Outcome.INCONCLUSIVE
    accuracy = next(row for row in found.utility if row.name == "accuracy")
    assert accuracy.high > -0.02


def test_public_films_must_be_of_other_people(case: DemoCase, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="share"):
        run(case, tmp_path, "recompute-bn", public=case.holdout)
    assert not (tmp_path / "copy.safetensors").exists()


@pytest.mark.parametrize(
    ("names", "prior", "said"),
    [(("distil",), False, "needs films"), (("drop-head", "drop-head"), True, "nothing to remove")],
)
def test_what_does_not_fit_is_refused_before_the_audit(
    names: tuple[str, ...], prior: bool, said: str, case: DemoCase, tmp_path: Path
) -> None:
    def never(_: object) -> Cohort:
        raise AssertionError("a film was opened")

    request = AuditRequest(checkpoint=case.checkpoint, policy=policy(3), policy_sha256="0" * 64, device=DEVICE)
    asked = MitigationRequest(request, names, tmp_path / "copy.safetensors", prior_samples=prior)
    with pytest.raises(MitigationError, match=said):
        audit_mitigated(asked, Films(reference=never, holdout=never), Environment(NOW, StoppedClock()))


def test_no_time_for_a_mitigation_is_a_refusal(case: DemoCase, tmp_path: Path) -> None:
    request = AuditRequest(checkpoint=case.checkpoint, policy=policy(3), policy_sha256="0" * 64, device=DEVICE)
    asked = MitigationRequest(request, ("recompute-bn",), tmp_path / "copy.safetensors", prior_samples=True)
    original = mitigation._original(request, PreprocessSpec(side=32), 1)
    public = Public(case.prior.images[:64], np.full(64, ""), "public films")
    given = Given(original.inputs, 0, Pace(Meter(0.0, None)), public, 16)
    with pytest.raises(MitigationError, match="budget ended"):
        mitigation._made(asked, original, given)
    assert not (tmp_path / "copy.safetensors").exists()


def test_the_two_audits_share_the_budget(case: DemoCase) -> None:
    request = AuditRequest(checkpoint=case.checkpoint, policy=policy(3), policy_sha256="0" * 64)
    assert mitigation.within(request, Meter(None, None)) == request
    assert mitigation.within(request, Meter(90.0, None)).policy.budget.seconds == 90.0
    assert (mitigation.within(request, Meter(0.0, None)).policy.budget.seconds or 0.0) > 0
    assert 2 * mitigation.FIRST < 1.0
