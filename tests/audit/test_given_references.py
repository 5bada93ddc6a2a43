"""Folds of a cross-validation as references: read, told apart from others, and good for telling members."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "network"))

from small import SPEC, blobs, convnet, task_of

from reid_audit.attack.interface import AttackTask
from reid_audit.audit.given_references import fold_of, given_models, without_them
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import unhurried
from reid_audit.errors import ArchitectureError, CohortError
from reid_audit.policy import parse_policy, policy_sha256
from reid_audit.preprocess import to_network
from reid_audit.records import GivenReference, Policy, References
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.signals import signals
from reid_audit.score.calibration import auc
from reid_audit.score.membership.against_references import against_references
from reid_audit.score.membership.observed import Observed

PEOPLE, MEMBERS, FOLDS = 60, 40, 5
PATIENTS = np.array([f"P{number:02d}" for number in range(PEOPLE)])


def lesson() -> Lesson:
    wanted = torch.randint(0, 2, (PEOPLE,), generator=torch.Generator().manual_seed(5))
    return Lesson(blobs(PEOPLE, 3), wanted, "softmax", lambda part: to_network(part, SPEC, 1))


def learned(rows: torch.Tensor, seed: int) -> nn.Module:
    taught, module = lesson(), convnet(seed).train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        loss = functional.cross_entropy(module(taught.prepare(taught.images[rows])), taught.wanted[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return module.eval()


def named(task: AttackTask) -> AttackTask:
    """As the same constructor names it."""
    match = task.target.match.model_copy(update={"name": "small:convnet"})
    return replace(task, target=replace(task.target, match=match))


def request(given: tuple[GivenReference, ...], factory: str = "small:convnet") -> AuditRequest:
    policy = Policy(references=References(given=given))
    return AuditRequest(
        checkpoint=Path("model.pt"), policy=policy, policy_sha256=policy_sha256(policy), factory=factory
    )


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[GivenReference, ...]:
    """Five networks, each trained on four fifths of the training patients, and nnU-Net's file beside them."""
    folder = tmp_path_factory.mktemp("folds")
    parts = np.arange(MEMBERS) % FOLDS
    splits = [{"train": PATIENTS[:MEMBERS][parts != k].tolist(), "val": []} for k in range(FOLDS)]
    (folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    found = []
    for k in range(FOLDS):
        path = folder / f"fold_{k}.safetensors"
        save_file(learned(torch.from_numpy(np.flatnonzero(parts != k)), seed=k).state_dict(), path)
        found.append(GivenReference(checkpoint=path, splits=folder / "splits_final.json", fold=k))
    return tuple(found)


def test_folds_tell_the_members_of_the_network_trained_on_all(folds: tuple[GivenReference, ...]) -> None:
    module, taught = learned(torch.arange(MEMBERS), seed=9), lesson()
    task = named(task_of(module))
    models = given_models(task, request(folds), taught, PATIENTS, unhurried())
    assert models.signals.shape == (1, PEOPLE)
    own = signals(task.target.module, taught, np.arange(PEOPLE), unhurried(), "films", near=False, mirrored=False)[0]
    found = against_references(Observed(own, models.signals, models.inside))
    assert auc(found[:MEMBERS], found[MEMBERS:]) > 0.7


def test_every_patient_is_compared_with_equally_many() -> None:
    said = np.arange(12.0).reshape(3, 4)
    inside = np.array([[True, False, False, False], [False, True, False, False], [False, False, False, False]])
    found = without_them(said, inside, PATIENTS[:4], np.random.default_rng(0))
    assert found.shape == (2, 4)
    assert set(found[:, 0]) == {4.0, 8.0}
    assert set(found[:, 1]) == {1.0, 9.0}
    inside[:, 2] = True
    with pytest.raises(CohortError, match="1 patients were in the training of every given reference"):
        without_them(said, inside, PATIENTS[:4], np.random.default_rng(0))


def test_another_network_and_strangers_are_refused(folds: tuple[GivenReference, ...], tmp_path: Path) -> None:
    task = task_of(convnet())
    with pytest.raises(ArchitectureError, match="another network"):
        given_models(task, request(folds), lesson(), PATIENTS, unhurried())
    with pytest.raises(CohortError, match="none of the 32 patients"):
        given_models(task, request(folds), lesson(), np.char.add("Q", PATIENTS), unhurried())
    with pytest.raises(CohortError, match="cannot read fold 9"):
        fold_of(folds[0].splits or tmp_path, 9)


def test_a_policy_names_them() -> None:
    entry = {"checkpoint": "fold_0.pt", "trained_on": "folds.csv?fold=1,2"}
    policy = parse_policy({"references": {"given": [entry]}})
    assert policy.references.given == (GivenReference(checkpoint=Path("fold_0.pt"), trained_on="folds.csv?fold=1,2"),)
    with pytest.raises(Exception, match="say who was in its training"):
        parse_policy({"references": {"given": [{"checkpoint": "fold_0.pt"}]}})
