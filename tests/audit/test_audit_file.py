"""A file of several networks: every one is audited and the worst verdict counts, whatever holds it and its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from reid_audit.audit import AuditedFile, AuditRequest, Environment, Films, PriorFilms, audit_file
from reid_audit.audit import file as audit_of_files
from reid_audit.audit.file import kept
from reid_audit.audit.run import Audited, run_audit
from reid_audit.checkpoint import Checkpoint
from reid_audit.checkpoint.groups import PARTS
from reid_audit.checkpoint.unwrap import EMA_WRAPPERS, WRAPPERS
from reid_audit.cohort import Cohort, Frame, Subjects, assemble
from reid_audit.demo.targets import SPEC, checkpoint_path, demo_case
from reid_audit.errors import ArchitectureError, CohortError, PriorError
from reid_audit.policy import policy_sha256
from reid_audit.records import (
    ArchMatch,
    AuditResult,
    Breach,
    Budget,
    Metric,
    Outcome,
    Policy,
    PreprocessPolicy,
    PreprocessSpec,
    PriorCard,
    References,
    Spend,
    StoppedBy,
    ToolInfo,
    Verdict,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME, STEM = "test_resnet", "conv1.0.weight"
State = dict[str, torch.Tensor]


def weights(seed: int, name: str = NAME) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(timm.create_model(name, num_classes=2).state_dict())


CLEAN, MEMORISED, VIT = weights(0), weights(1), weights(2, "test_vit")


def lenet() -> State:
    """Unknown to any index."""
    net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(256, 84), nn.Linear(84, 2))
    return {f"net.{key}": value for key, value in net.state_dict().items()}


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    return {f"{prefix}.{key}": value for key, value in state.items()}


def halved(state: State) -> State:
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def moments(state: State) -> dict[str, Any]:
    return {"state": {i: {"exp_avg": v, "exp_avg_sq": v} for i, v in enumerate(state.values())}, "param_groups": []}


def holds(tensors: Mapping[str, torch.Tensor], state: State) -> bool:
    return any(key.endswith(STEM) and torch.equal(value, state[STEM]) for key, value in tensors.items())


class Auditor:
    """In place of an audit: FAIL for the network that memorised, PASS for every other."""

    def __init__(self, error: Exception | None = None) -> None:
        self.audited: list[str] = []
        self.error = error

    def __call__(self, request: AuditRequest, films: Films, environment: Environment, **given: Any) -> Audited:
        checkpoint: Checkpoint = given["checkpoint"]
        self.audited.append(checkpoint.name)
        if self.error is not None and not holds(checkpoint.tensors, CLEAN):
            raise self.error
        fails = holds(checkpoint.tensors, MEMORISED)
        breach = Breach(metric=Metric.MEMBERSHIP_TPR, text="membership breaches")
        verdict = Verdict(
            outcome=Outcome.FAIL if fails else Outcome.PASS, reason="said.", breaches=(breach,) if fails else ()
        )
        return Audited(result(request, checkpoint, verdict), None)


def result(request: AuditRequest, checkpoint: Checkpoint, verdict: Verdict) -> AuditResult:
    return AuditResult(
        tool=ToolInfo(version="0", python="3", torch="2", device="cpu"),
        started=NOW,
        method="moments",
        checkpoint=checkpoint.summary,
        architecture=ArchMatch(name=NAME, library="timm", family="resnet", coverage=1.0),
        preprocess=PreprocessSpec(),
        prior=PriorCard(id="p", kind="gaussian", sha256="0" * 64, side=32),
        policy=request.policy,
        policy_sha256=request.policy_sha256,
        budget=request.policy.budget,
        spend=Spend(seconds=1.0, steps=2, stopped_by=StoppedBy.COMPLETE),
        seed=0,
        verdict=verdict,
    )


def request_for(path: Path, policy: Policy | None = None, **more: Any) -> AuditRequest:
    chosen = policy or Policy()
    return AuditRequest(checkpoint=path, policy=chosen, policy_sha256=policy_sha256(chosen), **more)


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AuditedFile]:
    """Audit a document with the stand-in."""

    def run(document: Any, auditor: Auditor | None = None, **more: Any) -> AuditedFile:
        monkeypatch.setattr(audit_of_files, "run_audit", auditor or Auditor())
        torch.save(document, tmp_path / "file.pt")
        return audit_file(request_for(tmp_path / "file.pt", **more), Films(), Environment(NOW, lambda: 0.0))

    return run


def outcomes(found: AuditedFile) -> dict[str, Outcome | None]:
    return {n.name: n.verdict.outcome if n.verdict else None for n in found.result.networks}


FAIL, PASS = Outcome.FAIL, Outcome.PASS
LAYOUTS: dict[str, tuple[Callable[[], Any], dict[str, Outcome | None], Outcome]] = {
    "folds": (lambda: {"fold_0": CLEAN, "fold_1": MEMORISED}, {"fold_0": PASS, "fold_1": FAIL}, FAIL),
    "nested folds": (
        lambda: {"cv": [{"net": under("module", CLEAN)}, {"net": under("module", MEMORISED)}]},
        {"cv.0.net": PASS, "cv.1.net": FAIL},
        FAIL,
    ),
    "prefixes": (
        lambda: under("models.0", CLEAN) | under("models.1", MEMORISED),
        {"models.0": PASS, "models.1": FAIL},
        FAIL,
    ),
    "an EMA copy": (
        lambda: {"state_dict": CLEAN, "state_dict_ema": under("module", MEMORISED), "optimizer": moments(CLEAN)},
        {"state_dict": PASS, "state_dict_ema": FAIL},
        FAIL,
    ),
    "the best model": (lambda: {"model": CLEAN, "best_model": MEMORISED}, {"model": PASS, "best_model": FAIL}, FAIL),
    "teacher and student": (
        lambda: {"student": CLEAN, "teacher": MEMORISED}, {"teacher": FAIL, "student": PASS}, FAIL
    ),
    "a GAN": (
        lambda: under("generator", lenet()) | under("discriminator", MEMORISED),
        {"discriminator": FAIL, "generator.net": None},
        FAIL,
    ),
    "clean beside unknown": (lambda: {"model": CLEAN, "second": lenet()}, {"model": PASS, "second": None},
                             Outcome.INCONCLUSIVE),
    "an identical copy": (lambda: {"state_dict": CLEAN, "model_ema": dict(CLEAN)}, {"state_dict": PASS}, PASS),
    "a half-precision copy": (lambda: {"model": CLEAN, "half": halved(CLEAN)}, {"model": PASS}, PASS),
    "EMA beside half precision": (
        lambda: {"model": CLEAN, "half": halved(CLEAN), "ema": MEMORISED}, {"model": PASS, "ema": FAIL}, FAIL
    ),
    "two clean ones": (lambda: {"a": CLEAN, "b": VIT}, {"a": PASS, "b": PASS}, PASS),
    "optimiser state": (lambda: {"model": CLEAN, "optimizer": moments(CLEAN)}, {}, PASS),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_worst_network_decides(layout: str, audited: Callable[..., AuditedFile]) -> None:
    make, wanted, outcome = LAYOUTS[layout]
    found = audited(make())
    assert outcomes(found) == wanted
    assert found.result.verdict.outcome is outcome
    unknown = [name for name, said in wanted.items() if said is None]
    assert all(any(name in gap.text for gap in found.result.verdict.gaps) for name in unknown)


WORDS = [*WRAPPERS, *EMA_WRAPPERS, *sorted(PARTS), "optimizer", "state", "exp_avg", "grad", "queue", "x", "0"]


@settings(max_examples=12, deadline=None)
@given(
    wrappers=st.lists(st.sampled_from(WORDS), max_size=3),
    prefixes=st.lists(st.sampled_from(WORDS), max_size=2),
    flat=st.booleans(),
    other=st.sampled_from(["model", "state_dict", "backbone", "a"]),
)
def test_no_renaming_turns_a_fail_into_a_pass(
    wrappers: list[str],
    prefixes: list[str],
    flat: bool,
    other: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    hidden: Any = {".".join([*prefixes, key]): value for key, value in MEMORISED.items()}
    if flat and (wrappers or prefixes):
        document: Any = {".".join([*wrappers, key]): value for key, value in hidden.items()} | under("first", CLEAN)
    else:
        for name in reversed(wrappers):
            hidden = {name: hidden}
        document = {**hidden, **({other: CLEAN} if other not in hidden else {"first": CLEAN})}
    path = tmp_path_factory.mktemp("renamed") / "file.pt"
    torch.save(document, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_of_files, "run_audit", Auditor())
        found = audit_file(request_for(path), Films(), Environment(NOW, lambda: 0.0))
    assert found.result.verdict.outcome is Outcome.FAIL


def test_copies_are_said(audited: Callable[..., AuditedFile]) -> None:
    found = audited({"state_dict": CLEAN, "model_ema": dict(CLEAN)})
    (network,) = found.result.networks
    assert network.copies == (("model_ema", "identical"),)
    assert network.shown


def test_a_network_that_cannot_be_audited_is_named(audited: Callable[..., AuditedFile]) -> None:
    error = PriorError("no prior fits it", closest="c", remedy="give another --prior")
    found = audited({"a": CLEAN, "b": VIT}, Auditor(error))
    assert found.result.verdict.outcome is Outcome.INCONCLUSIVE
    assert [(gap.text, gap.remedy) for gap in found.result.verdict.gaps] == [
        ("network b: no prior fits it", "give another --prior")
    ]
    with pytest.raises(PriorError):
        audited({"a": MEMORISED, "b": VIT}, Auditor(error))
    with pytest.raises(CohortError):
        audited({"a": CLEAN, "b": VIT}, Auditor(CohortError("films", closest="c", remedy="r")))


def test_a_file_without_a_known_network_is_refused(audited: Callable[..., AuditedFile]) -> None:
    with pytest.raises(ArchitectureError):
        audited({"a": lenet(), "b": lenet()})


def test_each_network_is_asked_what_concerns_it(audited: Callable[..., AuditedFile]) -> None:
    seen: list[AuditRequest] = []

    class Curious(Auditor):
        def __call__(self, request: AuditRequest, films: Films, environment: Environment, **given: Any) -> Audited:
            seen.append(request)
            return super().__call__(request, films, environment, **given)

    audited({"a": CLEAN, "b": VIT}, Curious(), architecture=NAME)
    assert [request.architecture for request in seen] == [NAME, None]


class Running:
    """Seconds pass at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


def test_networks_share_the_time_and_those_that_come_too_late_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, shares = Running(), list[float]()

    class Timed(Auditor):
        def __call__(self, request: AuditRequest, films: Films, environment: Environment, **given: Any) -> Audited:
            shares.append(given["meter"].seconds)
            clock.now += 60.0
            return super().__call__(request, films, environment, **given)

    monkeypatch.setattr(audit_of_files, "run_audit", Timed())
    torch.save({"a": CLEAN, "b": weights(5), "c": weights(6)}, tmp_path / "file.pt")
    request = request_for(tmp_path / "file.pt", Policy(budget=Budget(seconds=150.0)))
    found = audit_file(request, Films(), Environment(NOW, clock)).result
    assert 0.0 < shares[0] <= 50.0
    assert [n.verdict is None for n in found.networks] == [False, False, True]
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert any("network c: the budget ended" in gap.text for gap in found.verdict.gaps)


@pytest.mark.timeout(900)
def test_the_real_audit_of_a_network_beside_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped network that memorised, with few steps, in a file with a clean one that a stand-in audits."""
    case, clean = demo_case("overfit_cnn"), load_file(checkpoint_path("cnn"))
    torch.save({"fold_0": clean, "fold_1": load_file(case.checkpoint)}, tmp_path / "f.pt")
    real, stand_in = run_audit, Auditor()

    def run(request: AuditRequest, films: Films, environment: Environment, **given: Any) -> Audited:
        chosen = stand_in if given["checkpoint"].name == "fold_0" else real
        return chosen(request, films, environment, **given)

    monkeypatch.setattr(audit_of_files, "run_audit", run)
    policy = Policy(
        budget=Budget(steps=2, particles=(16,)),
        preprocess=PreprocessPolicy(declared=SPEC),
        references=References(when="off"),
        demographics="off",
    )
    films = Films(
        reference=lambda _: case.reference,
        holdout=lambda _: few(case.holdout, 130),
        prior=lambda _: PriorFilms(few(case.prior, 150), declared="phantom-prior"),
    )
    found = audit_file(request_for(tmp_path / "f.pt", policy), films, Environment(NOW, lambda: 0.0))
    assert outcomes(found) == {"fold_0": PASS, "fold_1": FAIL}
    assert found.result.verdict.outcome is Outcome.FAIL
    assert found.evidence is not None
    assert found.evidence.outcome == "fail"
    assert found.further == ()


def test_films_are_read_once_for_each_frame() -> None:
    read: list[object] = []

    def source(frame: object) -> Any:
        read.append(frame)
        return frame

    films = kept(Films(reference=source, holdout=None))
    for side in (32, 32, 64):
        assert films.reference is not None
        films.reference(Frame(PreprocessSpec(), side, 1))
    assert len(read) == 2
    assert films.holdout is None


def few(side: Cohort, patients: int) -> Cohort:
    """The films of a cohort's first patients."""
    keep = side.patient_index() < patients
    rows = torch.from_numpy(keep.nonzero()[0])
    return assemble(
        side.images[rows], Subjects(side.patients[keep], side.ages[keep], side.sexes[keep]), role=side.summary.role
    )
