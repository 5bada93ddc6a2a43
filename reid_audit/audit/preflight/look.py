"""The preflight itself: every cohort surveyed, the network tried, the policy held against both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from reid_audit.arch.networks import Network
from reid_audit.arch.target import Target
from reid_audit.audit.networks import alone, asked_of, networks_of
from reid_audit.audit.preflight import films
from reid_audit.audit.preflight.forecast import Load, cost_of
from reid_audit.audit.preflight.reach import Hindrance, Reach, hindered, reach
from reid_audit.audit.preflight.record import Cost, Finding, Preflight, Topic
from reid_audit.audit.request import AuditRequest, PriorChoice
from reid_audit.audit.setup import as_stated, file_origin, target_of
from reid_audit.budget import Meter, Pace, start
from reid_audit.cohort import CohortSurvey, Shared, Source, survey
from reid_audit.device import usable_device
from reid_audit.errors import AuditError, PriorError
from reid_audit.judge.basis import unread
from reid_audit.judge.verdict import NAME_IT
from reid_audit.observer import Observer, SilentObserver, StageEnded, StageStarted
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.records import COHORTS, ArchMatch, CohortName, Controls, Metric, Policy, Scaling

SHARE = 0.06
"""Share of the time left that decoding the films of one cohort may take."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A preflight with what only ``restricted/`` may hold."""

    report: Preflight
    named: tuple[tuple[str, str, str, str], ...]
    """(cohort, kind, what, remedy) of single faults: rows, files and ids. Restricted."""
    errors: tuple[AuditError, ...] = ()
    """Refusals of the network among the faults, as the audit would raise them."""


def look_ahead(
    request: AuditRequest,
    sources: Mapping[CohortName, Source],
    *,
    checkpoint_sha256: str,
    out: Path,
    today: date,
    meter: Meter | None = None,
    observer: Observer | None = None,
) -> Looked:
    """What can be known in seconds: all faults at once, which verdicts are possible, and what the audit will cost.

    out: the folder of all runs. meter: of the whole command; decoding films takes ``SHARE`` of it for each cohort.
    Raises no AuditError: one that is met on the way is among the findings.
    """
    policy, observer = request.policy, observer or SilentObserver()
    meter, declared = meter or start(policy.budget), policy.preprocess.declared
    scaling = None if declared is None else declared.scaling
    surveys = {
        role: surveyed(scaling, role, source, Pace(meter.share(SHARE), observer)) for role, source in sources.items()
    }
    decoded = sum(found.decoded for found in surveys.values())
    per_film = sum(found.seconds for found in surveys.values()) / max(1, decoded)
    shared = films.common(surveys)
    observer.notice(StageStarted("preflight: network"))
    target, networks, wrong = network(request)
    match = None if target is None else target.match
    origin, errors = of_prior_file(request.prior_choice)
    errors = (*wrong, *errors)
    labels = films.unusable_labels(surveys, match)
    within = hindered(
        reachable(policy, surveys, waived_gates(request, checkpoint_sha256, today)),
        *in_the_way(policy.controls, shared, origin, match),
        *without_statistics(policy, match, labels, based=request.base is not None),
        *unread_answers(policy, match, labels),
        *of_networks(networks),
    )
    known = sum(found.match is not None for found in networks)
    cost = None if target is None else for_each(cost_of(target, policy, load_of(surveys, per_film), out), known)
    observer.notice(StageEnded("preflight: network", "unknown" if match is None else match.name))
    findings = (
        *films.of_each_cohort(surveys),
        *films.of_common(shared),
        *films.of_strata(surveys),
        *films.of_labels(surveys, match),
        *(Finding(kind="fault", topic=topic_of(e), text=e.what, remedy=e.remedy) for e in errors),
        *of_policy(within),
        *(of_cost(cost, policy.budget.seconds) if cost is not None else ()),
    )
    report = Preflight(
        cohorts=tuple(films.count_of(role, found) for role, found in surveys.items()),
        findings=findings,
        possible=within.possible,
        cost=cost,
        budget=policy.budget.seconds,
    )
    return Looked(report, tuple(films.named(surveys, shared)), errors)


def waived_gates(request: AuditRequest, checkpoint_sha256: str, today: date) -> frozenset[Metric]:
    """Gates that a waiver of this checkpoint takes out of the breaches."""
    valid = (w for w in request.waivers if w.checkpoint_sha256 == checkpoint_sha256 and w.expires >= today)
    return frozenset(waiver.gate for waiver in valid)


def surveyed(scaling: Scaling | None, role: CohortName, source: Source, pace: Pace) -> CohortSurvey:
    """One cohort, with grey values scaled as the policy declares."""
    stage, observer = f"preflight: {COHORTS[role]} films", pace.observer
    observer.notice(StageStarted(stage))
    found = survey(source, role=COHORTS[role], scaling=scaling, pace=pace)
    observer.notice(StageEnded(stage, f"{found.films} films, {len(found.faults)} faults"))
    return found


def reachable(policy: Policy, surveys: Mapping[CohortName, CohortSurvey], waived: frozenset[Metric]) -> Reach:
    """Which verdicts are possible with so many patients, gates that are ``waived`` for this file left out."""
    people = {role: found.patients for role, found in surveys.items()}
    return reach(policy, people.get("reference"), people.get("holdout"), waived=waived)


def network(request: AuditRequest) -> tuple[Target | None, tuple[Network, ...], tuple[AuditError, ...]]:
    """The first network of the file on its device, and all of them; or why there is none."""
    networks: tuple[Network, ...] = ()
    try:
        checkpoint, networks = networks_of(request)
        own, asked = alone(checkpoint, networks[0]), asked_of(networks[0], request, first=True)
        target = as_stated(target_of(own, asked.naming, asked.checkpoint), request.policy.head)
        return replace(target, module=target.module.to(usable_device(request.device))), networks, ()
    except AuditError as error:
        return None, networks, (error,)


def for_each(cost: Cost | None, networks: int) -> Cost | None:
    """The cost of the first network, taken for every one of a file that holds ``networks``; films are read once."""
    if cost is None or networks < 2:
        return cost
    reading, *others = cost.stages
    stages = (reading, *((stage, seconds * networks) for stage, seconds in others))
    return cost.model_copy(update={"network": f"{networks} networks, the first {cost.network}", "stages": stages})


def of_networks(networks: tuple[Network, ...]) -> Iterator[Hindrance]:
    """Networks of the file that no audit will reach."""
    for found in networks:
        if found.refusal is not None:
            said = f"the file holds a network that is not known, at {found.place}: {found.refusal.what}"
            yield Hindrance(text=said, remedy=found.refusal.remedy)


def of_prior_file(choice: PriorChoice) -> tuple[bool, tuple[AuditError, ...]]:
    """Whether a given prior file says what it was made of, and what is wrong with it or its patient file."""
    if choice.file is None:
        return True, ()
    try:
        prior = load_prior(choice.file)
        public = prior.origin if isinstance(prior, GaussianPrior | PgganPrior) else None
        return file_origin(choice.file, choice.patients, prior, public) is not None, ()
    except AuditError as error:
        return False, (error,)


def topic_of(error: AuditError) -> Topic:
    """The topic under which the preflight shows a refusal."""
    return "prior" if isinstance(error, PriorError) else "network"


def in_the_way(
    wanted: Controls, shared: Mapping[tuple[CohortName, CohortName], Shared], origin: bool, match: ArchMatch | None
) -> Iterator[Hindrance]:
    """What the prior and doubts about the network have against a PASS.

    The prior file says whose films it was made of where ``origin``.
    """
    for first, second in shared:
        if second == "prior" and wanted.prior_disjoint:
            yield Hindrance(
                text=f"the prior's films show {shared[first, second].patients} patients of the {COHORTS[first]} films",
                remedy="give a prior of other people, or use the shipped one",
            )
    if not origin and wanted.prior_disjoint:
        yield Hindrance(
            text="the prior does not say whose films it was made of",
            remedy="give its patient file with --prior-patients, or a prior that declares its training films",
        )
    for doubt in () if match is None else match.doubts:
        yield Hindrance(text=f"the network is in doubt: {doubt}", remedy=NAME_IT)


def without_statistics(
    policy: Policy, match: ArchMatch | None, labels: str, *, based: bool = False
) -> Iterator[Hindrance]:
    """What a network that stores no statistics of films has against a PASS: no reconstruction is known to work on it.

    Membership with reference models stands in for it where the training labels are known. labels: why they cannot be
    used, empty where they can; ``based``: whether the public base is given.
    """
    if match is None or match.data_statistics or not policy.controls.attack_power or based:
        return
    referenced = policy.references.when != "off" and policy.references.stands_in
    if referenced and not labels:
        return
    name_them = f"name the training labels with --label ({labels}): then membership with reference models stands in"
    yield Hindrance(
        text=f"{match.name} stores no statistics of its training films, and for such networks no attack is known "
        "that finds planted patients (attack_power)",
        remedy=(name_them if referenced else "FAIL by membership stays possible")
        + "; if it was fine-tuned from public weights, name them with --base",
        by_luck=True,
    )


def unread_answers(policy: Policy, match: ArchMatch | None, labels: str) -> Iterator[Hindrance]:
    """What a network whose answers cannot be scored without training labels has against a PASS.

    labels: why they cannot be used, empty where they can.
    """
    if match is None or not labels:
        return
    gap = unread(policy.head or match.head, match.classes, stated=policy.head is not None)
    if gap is not None:
        yield Hindrance(text=gap.text, remedy=gap.remedy)


def load_of(surveys: Mapping[CohortName, CohortSurvey], per_film: float) -> Load:
    """How much there is to read; per_film: seconds to decode one."""
    sides = [found for role, found in surveys.items() if role != "prior"]
    prior = surveys.get("prior")
    return Load(
        films=sum(found.films for found in sides),
        patients=sum(found.patients for found in sides) if len(sides) == 2 else 0,
        prior_images=0 if prior is None else prior.films,
        per_film=per_film,
    )


def of_policy(within: Reach) -> Iterator[Finding]:
    """Findings on what keeps the policy from a verdict."""
    for found in within.hindrances:
        chance = "PASS depends on luck" if found.by_luck else "PASS is out of reach"
        lead = chance if within.verdict_possible else "only INCONCLUSIVE is possible"
        yield Finding(kind="limit", topic="policy", text=f"{lead}: {found.text}", remedy=found.remedy)


def of_cost(cost: Cost, seconds: float | None) -> Iterator[Finding]:
    """Findings on disk and memory that the machine, and on time that a budget of ``seconds``, has too little of."""
    if cost.disk_free is not None and cost.disk_free < cost.disk_bytes:
        text = f"about {size(cost.disk_bytes)} are written below --out, {size(cost.disk_free)} are free"
        yield Finding(kind="fault", topic="disk", text=text, remedy="make room, or give another --out")
    if cost.memory_free is not None and cost.memory_free < cost.memory_bytes:
        text = f"about {size(cost.memory_bytes)} of memory are needed, {size(cost.memory_free)} are free"
        remedy = "end other programs, give fewer films or a smaller --side, or use another machine"
        yield Finding(kind="limit", topic="memory", text=text, remedy=remedy)
    if seconds is not None and cost.seconds > seconds:
        text = "the attack would take longer than the budget: it runs fewer steps, and may miss its planted patients"
        remedy = "raise --budget, or use a GPU; without enough steps the audit ends INCONCLUSIVE (attack_power)"
        yield Finding(kind="note", topic="time", text=text, remedy=remedy)


def size(count: float) -> str:
    """Bytes as ``3.2 GB`` or ``40 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
