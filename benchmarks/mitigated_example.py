"""Mitigations on the shipped overfit example, which needs no films: what ends its breach, and at what price.

    python -m benchmarks.mitigated_example --doc docs/mitigations.md
    python -m benchmarks.mitigated_example --whole fine-tune --doc docs/mitigations.md

`overfit_cnn` knows 16 phantom patients by heart. Public films are those of 200 other phantom patients, the sex is the
label, membership is asked without reference models, accuracy of 450 hold-out patients. With ``--whole`` the work of
`reid-audit mitigate` is done: both audits, with every control, beside 300 hold-out patients; minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.lab.pages import Row, publish
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.audit import AuditRequest, Environment, Films, PriorFilms
from reid_audit.audit.cohorts import cohort_ids
from reid_audit.audit.mitigation import MitigationRequest, audit_mitigated
from reid_audit.budget import unhurried
from reid_audit.checkpoint import load_checkpoint
from reid_audit.cohort import Cohort, Subjects, assemble
from reid_audit.demo.targets import SIDE, SPEC, demo_case
from reid_audit.mitigate.apply import mitigated
from reid_audit.mitigate.interface import Given, Public
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.network.answers import outputs_of, taught_answers
from reid_audit.network.reading import Inputs
from reid_audit.policy import policy_sha256
from reid_audit.preprocess import to_network
from reid_audit.records import (
    AuditResult,
    Budget,
    Measured,
    Measurement,
    Metric,
    Policy,
    PreprocessPolicy,
    References,
    find,
)
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.inference import MembershipOutcome, membership
from reid_audit.score.patients import Owners
from reid_audit.score.utility import Answers, changes

PUBLIC = 200
"""Patients whose films are public."""
TRIED = ("recompute-bn", "fold-bn", "fine-tune", "distil")
BESIDE, STEPS = 300, 100
"""Hold-out patients and attack steps of a whole audit."""
WHOLE = (
    "mitigation",
    "before",
    "breached",
    "membership AUC",
    "after",
    "breached after",
    "membership AUC after",
    "change of accuracy",
)
HEAD = ("mitigation", "membership AUC", "TPR at 1 % FPR", "AUC by family", "accuracy", "change of accuracy", "loss")


class Pooled(NamedTuple):
    """Training films, then hold-out films, with their labels and owners."""

    images: Tensor
    labels: np.ndarray
    owners: Owners
    members: int


def pooled(reference: Cohort, holdout: Cohort) -> Pooled:
    """Both cohorts pooled."""
    ids = np.concatenate([cohort_ids("T", reference.patients), cohort_ids("H", holdout.patients)])
    count = len(reference.images)
    images = torch.cat([reference.images, holdout.images])
    owners = Owners(ids, np.arange(len(images)) < count)
    return Pooled(images, np.concatenate([reference.sexes, holdout.sexes]), owners, count)


def public_films(prior: Cohort) -> Public:
    """The films of the first patients of the prior."""
    cohort = of_the_first(prior, PUBLIC)
    return Public(cohort.images, cohort.sexes, "public films")


def of_the_first(cohort: Cohort, patients: int) -> Cohort:
    """The films of the first patients."""
    keep = cohort.patient_index() < patients
    rows = torch.from_numpy(keep.nonzero()[0])
    few = Subjects(cohort.patients[keep], cohort.ages[keep], cohort.sexes[keep])
    return assemble(cohort.images[rows], few, role=cohort.summary.role)


def inputs(images: Tensor) -> Tensor:
    return to_network(images, SPEC, 1)


def answers(target: Target, films: Pooled) -> Tensor:
    """[N, K] of all films."""
    with torch.no_grad():
        return torch.cat([outputs_of(target.module(inputs(part))) for part in torch.split(films.images, 128)])


def recognised(target: Target, films: Pooled) -> MembershipOutcome:
    """Membership of all patients."""
    scores = membership_scores(target, Inputs(films.images, inputs), films.labels).scores
    return membership(scores, films.owners, np.random.default_rng(0))


def line(name: str, original: Target, target: Target, films: Pooled) -> Row:
    """One row: membership, and utility beside the original's."""
    found, before, after = recognised(target, films), answers(original, films), answers(target, films)
    wanted = taught_answers(original.match.head, before, films.labels)
    if wanted is None:
        raise ValueError("the labels are not those of the head")
    own = slice(films.members, None)
    people = films.owners.patients[own]
    one, two = (Answers(original.match.head, each[own], wanted[own], people) for each in (before, after))
    moved = {each.before.name: each for each in changes(one, two, np.random.default_rng(0))}
    accuracy, loss = moved["accuracy"], moved["loss"]
    families = "; ".join(f"{family} {rank:.2f}" for family, rank, _ in found.by_family)
    changed = f"{accuracy.change:+.3f} [{accuracy.low:+.3f}, {accuracy.high:+.3f}]"
    spread = f"{accuracy.after.value:.3f} [{accuracy.after.low:.3f}, {accuracy.after.high:.3f}]"
    return (name, *ends(found), families, spread, changed, f"{loss.after.value:.2f}")


def whole(name: str) -> Row:
    """One row: what `reid-audit mitigate` says of the example and of its copy."""
    case = demo_case("overfit_cnn")
    public = labelled(of_the_first(case.prior, PUBLIC))
    reference, holdout = labelled(case.reference), labelled(of_the_first(case.holdout, BESIDE))
    policy = Policy(
        budget=Budget(steps=STEPS, particles=(16,)),
        preprocess=PreprocessPolicy(declared=SPEC),
        references=References(when="off"),
        demographics="off",
    )
    audit = AuditRequest(
        checkpoint=case.checkpoint, policy=policy, policy_sha256=policy_sha256(policy), seed=1, device="cpu"
    )
    films = Films(
        reference=lambda _: reference,
        holdout=lambda _: holdout,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
    )
    with TemporaryDirectory() as folder:
        asked = MitigationRequest(audit, (name,), Path(folder) / "copy.safetensors", public=lambda _: public)
        found = audit_mitigated(asked, films, Environment(datetime.now(UTC), time.monotonic)).result
    accuracy = next(row for row in found.utility if row.name == "accuracy")
    sides = [text for side in (found.before, found.after) for text in said(side)]
    return (name, *sides, f"{accuracy.change:+.3f} [{accuracy.low:+.3f}, {accuracy.high:+.3f}]")


def labelled(cohort: Cohort) -> Cohort:
    """With the sex as what the network learned."""
    return replace(cohort, labels=cohort.sexes)


def said(result: AuditResult) -> tuple[str, str, str]:
    """The verdict, what breached, and the membership AUC."""
    breaches = ", ".join(breach.metric.value for breach in result.verdict.breaches) or "none"
    return (result.verdict.outcome.value.upper(), breaches, with_ends(find(result.measurements, Metric.MEMBERSHIP_AUC)))


def ends(found: MembershipOutcome) -> tuple[str, str]:
    """AUC and TPR with their intervals."""
    auc, rate = (find(found.measurements, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR))
    return with_ends(auc), with_ends(rate)


def with_ends(found: Measurement | None) -> str:
    """A number with its interval. Raises ValueError where there is none."""
    if not isinstance(found, Measured):
        raise ValueError(f"not measured: {found}")
    return f"{found.value:.2f} [{found.low or 0.0:.2f}, {found.high or 0.0:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doc", type=Path)
    parser.add_argument("--whole", nargs="+", choices=tuple(MITIGATIONS), default=[], metavar="MITIGATION")
    options = parser.parse_args()
    if options.whole:
        publish(WHOLE, [whole(name) for name in options.whole], options.doc, keys=1, mark="whole")
        return
    case = demo_case("overfit_cnn")
    films = pooled(case.reference, case.holdout)
    original = identify(load_checkpoint(case.checkpoint).tensors, side=SIDE)
    given = Given(inputs, 0, unhurried(), public_films(case.prior), films.members)
    rows = [line("none", original, original, films)]
    for name in TRIED:
        copy, _ = mitigated(original, [name], given)
        rows.append(line(name, original, copy.target, films))
        print(rows[-1], flush=True)
    publish(HEAD, rows, options.doc, keys=1, mark="example")


if __name__ == "__main__":
    main()
