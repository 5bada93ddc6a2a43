"""audit_mitigated: audit, mitigate a copy, audit the copy with the same seeds and films, compare what both answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import check_overlap, origin_of
from reid_audit.audit.attack_runs import numpy_for
from reid_audit.audit.carried import carried
from reid_audit.audit.environment import Environment
from reid_audit.audit.file import AuditedFile, audit_file, kept
from reid_audit.audit.networks import alone, asked_of, networks_of
from reid_audit.audit.request import AuditRequest, Films, Naming
from reid_audit.audit.setup import as_stated, prior_of, require_colours, samples_of, stored_prior, target_of
from reid_audit.budget import Meter, OutOfTime, Pace, start, unhurried
from reid_audit.cohort import Cohort, Frame
from reid_audit.device import usable_device
from reid_audit.errors import CohortError, MitigationError
from reid_audit.imaging.stack import Stack, blocks
from reid_audit.judge import held
from reid_audit.mitigate.apply import mitigated, rehearse
from reid_audit.mitigate.copy_file import write_copy
from reid_audit.mitigate.interface import Given, Public
from reid_audit.network.answers import outputs_of, taught_answers
from reid_audit.observer import Noted, stage
from reid_audit.preprocess import to_network
from reid_audit.records import (
    AppliedMitigation,
    CarriedPatients,
    MitigationResult,
    PreprocessPolicy,
    PreprocessSpec,
    UtilityMissing,
    UtilityRow,
)
from reid_audit.reference.lesson import PASS
from reid_audit.score.utility import Answers, UtilityChange, changes
from reid_audit.store import RunStore

FIRST = 0.45
"""Share of the budget for the audit of the original; the copy has as much, and the mitigations what is between."""


@dataclass(frozen=True, slots=True, eq=False)
class MitigationRequest:
    """One checkpoint, what to do to a copy of it, and where the copy goes."""

    audit: AuditRequest
    """Of the original; the copy is audited likewise."""
    names: tuple[str, ...]
    """Names of ``mitigate.registry.MITIGATIONS``, in the order in which they are applied."""
    copy: Path
    public: Callable[[Frame], Cohort] | None = None
    """Films of other people; None: there are none, or samples of the prior."""
    prior_samples: bool = False
    """Whether samples of the prior stand for films of other people."""
    stores: tuple[RunStore, RunStore] = (RunStore(), RunStore())
    """Where attack runs of the original's audit and of the copy's are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Mitigated:
    """What may be published, and both audits with their evidence."""

    result: MitigationResult
    before: AuditedFile
    after: AuditedFile
    """With the verdict that counts."""


def audit_mitigated(request: MitigationRequest, films: Films, environment: Environment) -> Mitigated:
    """Everything from the original to the verdict on the copy, which is written on the way.

    Raises AuditError where there is no verdict on the original or no copy, MitigationError where a mitigation does not
    fit or there is no time for it.
    """
    asked, films = request.audit, kept(films)
    meter = start(asked.policy.budget, environment.clock, began=environment.began)
    with stage(environment.observer, "trying the mitigations", brief=True):
        _refuse_early(request, films)
    environment.observer.notice(Noted("audit of the original"))
    first = meter.share(FIRST)
    before = audit_file(within(asked, first), films, for_one(environment, request.stores[0]))
    original = _original(asked, before.result.preprocess, before.result.prior.channels)
    frame = original.frame
    public = _public_films(request, films, frame)
    pace = Pace(meter.share((1.0 - 2.0 * FIRST) / (1.0 - FIRST)), environment.observer)
    members, each = _trained_on(films, frame)
    given = Given(original.inputs, asked.seed, pace, public, members, each)
    copy, applied = _made(request, original, given)
    planted = _carried(request, original, films, given)
    environment.observer.notice(Noted("audit of the copy"))
    second = Meter(None if first.seconds is None else min(first.seconds, meter.left()), None, meter.clock)
    again = within(_of_copy(asked, request.copy, before.result.preprocess), second)
    after = audit_file(again, films, for_one(environment, request.stores[1]))
    result = held(before.result, after.result, applied)
    utility, missing = _utility(original, copy, films, asked.seed)
    return Mitigated(
        result=MitigationResult(
            before=before.result,
            after=result,
            alone=after.result.verdict.outcome,
            applied=applied,
            carried=planted,
            public_films=0 if public is None else len(public.images),
            utility=utility,
            utility_missing=missing,
        ),
        before=before,
        after=replace(after, result=result),
    )


def within(request: AuditRequest, meter: Meter) -> AuditRequest:
    """``request`` with the seconds of ``meter`` as its budget."""
    if meter.seconds is None:
        return request
    budget = request.policy.budget.model_copy(update={"seconds": max(meter.seconds, 1e-3)})
    return request.model_copy(update={"policy": request.policy.model_copy(update={"budget": budget})})


def for_one(environment: Environment, store: RunStore) -> Environment:
    """``environment`` for one of the two audits, whose budget counts from its own start."""
    return replace(environment, began=None, store=store)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The network of the file as its audit saw it."""

    target: Target
    naming: Naming
    """What was said of it, as far as it concerns this network."""
    device: torch.device
    spec: PreprocessSpec
    frame: Frame

    def inputs(self, images: Tensor) -> Tensor:
        """Network input, on the network's device, from images in [0, 1]."""
        return to_network(images.to(self.device), self.spec, self.target.match.channels)


def _trained_on(films: Films, frame: Frame) -> tuple[int | None, int]:
    """How many training films there are, None where nobody says, and how many of them one patient has at most."""
    if films.reference is None:
        return None, 1
    patients = films.reference(frame).patients
    return len(patients), int(np.unique(patients, return_counts=True)[1].max())


LOOK = Frame(PreprocessSpec(), 64, 1)
"""How films are read only to see whose they are."""


def _refuse_early(request: MitigationRequest, films: Films) -> None:
    """Raise what would end the command after the audit of the original."""
    if request.public is not None:
        _refuse_patients(request.public(LOOK), films, LOOK)
    declared = request.audit.policy.preprocess.declared or PreprocessSpec()
    original, some = _original(request.audit, declared, 1), np.full(1, "")
    stand_in = Public(torch.zeros(1, 1, LOOK.side, LOOK.side), some, "films")
    public = stand_in if request.public is not None or request.prior_samples else None
    members = None if films.reference is None else 1
    given = Given(original.inputs, request.audit.seed, unhurried(), public, members)
    rehearse(original.target, request.names, given)


def _original(request: AuditRequest, spec: PreprocessSpec, channels: int) -> Original:
    """The first known network of the file, which the copy will hold, under a preprocessing of films."""
    checkpoint, networks = networks_of(request)
    own = asked_of(networks[0], request, first=True)
    naming = replace(own.naming, side=spec.side)
    target = as_stated(target_of(alone(checkpoint, networks[0]), naming, request.checkpoint), own.policy.head)
    device = usable_device(request.device)
    side = spec.side or target.match.side
    match = target.match.model_copy(update={"side": side})
    found = replace(target, module=target.module.to(device), match=match)
    return Original(found, naming, device, spec, Frame(spec, side, channels))


def _public_films(request: MitigationRequest, films: Films, frame: Frame) -> Public | None:
    """The films of other people, or the prior's."""
    if request.public is not None:
        cohort = request.public(frame)
        return Public(cohort.images, cohort.labels, "public films")
    if not request.prior_samples:
        return None
    choice = request.audit.prior_choice
    stored = stored_prior(choice, films)
    if stored is not None:
        require_colours(stored.card, frame.channels)
    prior, own, _ = prior_of(choice, stored, films, frame)
    if own is not None:
        return Public(own.images, np.full(len(own.images), ""), "films of the prior")
    images = samples_of(prior, request.audit.seed)
    return Public(images, np.full(len(images), ""), "samples of the prior")


def _refuse_patients(public: Cohort, films: Films, frame: Frame) -> None:
    """Raise CohortError where films of other people are those of the audit."""
    origin = origin_of(public.images, public.named_patients())
    for side, read in (("training", films.reference), ("hold-out", films.holdout)):
        if read is None:
            continue
        cohort = read(frame)
        found = check_overlap(origin, cohort.images, cohort.named_patients())
        if found.overlap == "overlap":
            raise CohortError(
                f"the public films and the {side} films share {found.films} films and {found.patients} patients",
                closest="compared by 32 px thumbnails, and by patient ids where both cohorts have them",
                remedy="give --public films of other people",
            )


def _made(request: MitigationRequest, original: Original, given: Given) -> tuple[Target, tuple[AppliedMitigation, ...]]:
    """The copy, written, and what was done to it."""
    try:
        copy, applied = mitigated(original.target, request.names, given)
    except OutOfTime as error:
        raise MitigationError(
            f"the budget ended during {error}",
            closest="the original is audited, no copy was written",
            remedy="raise --budget, or leave out the mitigations that train (fine-tune, distil)",
        ) from None
    write_copy(copy, request.copy, name=original.naming.architecture, factory=original.naming.factory)
    module = copy.target.module.to(original.device)
    return replace(copy.target, module=module), applied


def _carried(request: MitigationRequest, original: Original, films: Films, given: Given) -> CarriedPatients | None:
    """What becomes of planted patients; None without hold-out films or time."""
    if films.holdout is None:
        return None
    count = request.audit.policy.controls.canaries
    return carried(original.target, films.holdout(original.frame), request.names, given, count=count)


def _of_copy(request: AuditRequest, copy: Path, spec: PreprocessSpec) -> AuditRequest:
    """The same audit of the copy, with the preprocessing that was used on the original: replaced statistics know of no
    other."""
    policy = request.policy.model_copy(update={"preprocess": PreprocessPolicy(declared=spec)})
    return request.model_copy(update={"checkpoint": copy, "policy": policy})


def _utility(
    original: Original, copy: Target, films: Films, seed: int
) -> tuple[tuple[UtilityRow, ...], UtilityMissing]:
    """What both networks answer hold-out films. Which word means which output, the original says of all films."""
    if copy.match.head == "features":
        return (), "no_answers"
    if films.holdout is None or copy.match.head == "segmentation":
        return (), "no_labels"
    holdout = films.holdout(original.frame)
    reference = None if films.reference is None else films.reference(original.frame)
    before, after = (_answers(original, module, holdout) for module in (original.target.module, copy.module))
    outputs, words = before, holdout.labels
    if reference is not None:
        outputs = torch.cat([outputs, _answers(original, original.target.module, reference)])
        words = np.concatenate([words, reference.labels])
    wanted = taught_answers(copy.match.head, outputs, words)
    if wanted is None:
        return (), "no_labels"
    kind, own = copy.match.head, wanted[: len(before)]
    one, two = (Answers(kind, answered, own, holdout.patients) for answered in (before, after))
    patients = np.unique(holdout.patients).size
    rows = changes(one, two, numpy_for(seed, "utility"))
    return tuple(_row(each, patients) for each in rows), ""


def _answers(original: Original, module: torch.nn.Module, cohort: Cohort[Stack]) -> Tensor:
    with torch.no_grad():
        parts = [outputs_of(module(original.inputs(part))).cpu() for part in blocks(cohort.images, PASS)]
    return torch.cat(parts)


def _row(found: UtilityChange, patients: int) -> UtilityRow:
    return UtilityRow(
        name=found.before.name,
        patients=patients,
        before=found.before.value,
        before_low=found.before.low,
        before_high=found.before.high,
        after=found.after.value,
        after_low=found.after.low,
        after_high=found.after.high,
        change=found.change,
        low=found.low,
        high=found.high,
    )
