"""Reference models the user has: folds of a cross-validation, members of an ensemble, earlier releases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import Pace
from reid_audit.checkpoint import load_checkpoint
from reid_audit.cohort import parse_source
from reid_audit.cohort.source import list_rows
from reid_audit.errors import ArchitectureError, CohortError
from reid_audit.network.memory_layout import channels_last
from reid_audit.records import GivenReference
from reid_audit.reference.lesson import Lesson
from reid_audit.reference.models import ReferenceModels
from reid_audit.reference.signals import Floats, signals


def given_models(
    task: AttackTask, request: AuditRequest, lesson: Lesson, patients: NDArray[np.str_], pace: Pace
) -> ReferenceModels:
    """What the policy's given references say of the pooled films; ``patients`` [N]: ids as the manifests write them.

    They were mostly trained on training patients alone, so that only those are in their training. Each patient is
    therefore compared with equally many references without them, drawn by chance where there are more: both sides are
    treated alike. Raises AuditError where a reference is another network, names nobody, or a patient is in all.
    """
    given = request.policy.references.given
    inside = np.stack([np.isin(patients, taught(one, patients)) for one in given])
    every, said = np.arange(len(patients)), list[Floats]()
    for number, one in enumerate(given):
        module = network_of(one, task.target, request).module.to(task.space.mean.device)
        name = f"given reference {number + 1} of {len(given)}"
        said.append(signals(module, lesson, every, pace, name, near=False, mirrored=False)[0])
    values = without_them(np.stack(said), inside, patients, np.random.default_rng(request.seed))
    return ReferenceModels(np.zeros(values.shape, dtype=bool), values[:, None])


def taught(one: GivenReference, patients: NDArray[np.str_]) -> NDArray[np.str_]:
    """Ids of the patients it was trained on. Raises CohortError where none of them has a film here."""
    if one.splits is not None:
        found = fold_of(one.splits, one.fold)
    else:
        source, where = parse_source(one.trained_on)
        found = [row.patient for row in list_rows(source, where).rows]
    known = np.unique(np.array(found, dtype=np.str_))
    if not np.isin(known, patients).any():
        raise CohortError(
            f"none of the {known.size} patients that {one.checkpoint.name} was trained on has a film here",
            closest=f"patients such as {patients[0]}",
            remedy="name them in [[references.given]] as the manifests of this audit do",
        )
    return known


def fold_of(path: Path, fold: int) -> list[str]:
    """The training cases of one fold of an nnU-Net ``splits_final.json``. Raises CohortError."""
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        return [str(case) for case in folds[fold]["train"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CohortError(
            f"cannot read fold {fold} of {path}",
            closest=str(error)[:200] or "a list of folds with train and val",
            remedy="give nnU-Net's splits_final.json and a fold that it has",
        ) from error


def network_of(one: GivenReference, target: Target, request: AuditRequest) -> Target:
    """The given network, known to be the audited architecture. Raises AuditError."""
    checkpoint = load_checkpoint(one.checkpoint, pickled_code=request.policy.pickled_code)
    found = identify(checkpoint.tensors, name=request.architecture, factory=request.factory, side=target.match.side)
    if (found.match.name, found.match.classes) != (target.match.name, target.match.classes):
        raise ArchitectureError(
            f"the reference {one.checkpoint.name} is another network than the audited one",
            closest=f"{found.match.name} with {found.match.classes} outputs, "
            f"audited: {target.match.name} with {target.match.classes}",
            remedy="give networks of the audited architecture in [[references.given]]",
        )
    return replace(found, module=channels_last(found.module))


def without_them(
    said: Floats, inside: NDArray[np.bool_], patients: Sequence[str] | NDArray[np.str_], rng: np.random.Generator
) -> Floats:
    """[M, N] what references without a film's patient say of it: as many for each patient as the one with fewest has.

    said, inside [K, N]. Which of them stand for a patient is drawn by ``rng``. Raises CohortError where a patient was
    in the training of all.
    """
    people, first = np.unique(np.asarray(patients), return_index=True)
    fewest = int((~inside[:, first]).sum(axis=0).min())
    if fewest == 0:
        lost = int(((~inside[:, first]).sum(axis=0) == 0).sum())
        raise CohortError(
            f"{lost} patients were in the training of every given reference",
            closest=f"{len(inside)} references",
            remedy="give references such that each patient is missing in one, as in a cross-validation",
        )
    values = np.empty((fewest, said.shape[1]))
    for person in people:
        here = np.flatnonzero(np.asarray(patients) == person)
        chosen = rng.permutation(np.flatnonzero(~inside[:, here[0]]))[:fewest]
        values[:, here] = said[np.ix_(chosen, here)]
    return values
