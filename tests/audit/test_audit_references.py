"""Whole audits with reference models: they are trained, asked, kept and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from audits import Notes, audit, policy, small, value

from reid_audit.audit import Audited
from reid_audit.audit.power_control import ControlCache
from reid_audit.demo.targets import DemoCase, demo_case
from reid_audit.records import Metric, References
from reid_audit.report import publish

EPOCHS = 30
TWO = References(count=2, epochs=EPOCHS, rate=3e-3)


@pytest.fixture(scope="module")
def case() -> DemoCase:
    whole = demo_case("cnn")
    return whole._replace(
        reference=small(whole.reference, 60), holdout=small(whole.holdout, 130), prior=small(whole.prior, 150)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(case: DemoCase, folder: Path) -> Audited:
    return audit(case, policy(steps=2, references=TWO), cache=ControlCache(folder))


def test_membership_is_scored_beside_references(found: Audited) -> None:
    assert found.result.references is not None
    assert (found.result.references.count, found.result.references.taught_by) == (2, "answers")
    assert max(found.result.references.epochs) <= EPOCHS
    assert value(found, Metric.MEMBERSHIP_AUC).n == 60
    assert value(found, Metric.MEMBERSHIP_CONTROL).value >= 0.5
    public = publish(found.result)
    assert public.references is not None
    assert public.references.count == 2


def test_references_are_kept_for_the_next_release(case: DemoCase, folder: Path, found: Audited) -> None:
    again = audit(case, policy(steps=2, references=TWO), cache=ControlCache(folder))
    assert again.result.references is not None
    assert again.result.references.epochs == (0, 0)
    assert value(again, Metric.MEMBERSHIP_AUC) == value(found, Metric.MEMBERSHIP_AUC)


def test_without_time_there_are_none_and_the_report_says_so(case: DemoCase) -> None:
    notes = Notes()
    late = audit(case, policy(steps=2, references=TWO, seconds=1e-3), observer=notes, clock=Ticking())
    assert late.result.references is None
    assert [(one.stage, one.done, one.of) for one in late.result.reduced if one.stage == "references"] == [
        ("references", 0, 2)
    ]


class Ticking:
    """A clock that never stands still."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now
