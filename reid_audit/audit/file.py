"""audit_file: every network of a file is audited within one budget, and the worst verdict is the file's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from reid_audit.arch.networks import Network
from reid_audit.audit.environment import Environment
from reid_audit.audit.networks import alone, asked_of, networks_of, record_of
from reid_audit.audit.request import AuditRequest, Films
from reid_audit.audit.run import Audited, run_audit
from reid_audit.budget import Meter, start
from reid_audit.checkpoint import Checkpoint
from reid_audit.cohort import Frame
from reid_audit.errors import ArchitectureError, AuditError, CohortError
from reid_audit.judge import united
from reid_audit.observer import Noted, stage
from reid_audit.records import AuditResult, NetworkRecord
from reid_audit.report.evidence import Evidence
from reid_audit.store import RunStore

Read = TypeVar("Read")
LATE = NetworkRecord(
    name="", why="the budget ended before it was audited", remedy="raise --budget, or audit the networks one by one"
)


@dataclass(frozen=True, slots=True, eq=False)
class AuditedFile:
    """The publishable result of a file, and the restricted evidence behind it."""

    result: AuditResult
    evidence: Evidence | None
    """Of the network that the result shows; None without films."""
    further: tuple[tuple[int, Evidence], ...] = ()
    """(place in ``result.networks``, evidence) of the others that films were compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What the audits of all networks share."""

    request: AuditRequest
    films: Films
    environment: Environment


def audit_file(request: AuditRequest, films: Films, environment: Environment) -> AuditedFile:
    """Audit every network of a checkpoint. Raises AuditError where no verdict can exist.

    Networks share the time: each gets an equal part of what is left when its turn comes, and its attack makes do with
    that. A network that is not known, that cannot be audited, or whose turn does not come is named, and the file does
    not PASS.
    """
    meter = start(request.policy.budget, environment.clock, began=environment.began)
    bench = Bench(request, kept(films), environment)
    with stage(environment.observer, "networks of the file", brief=True):
        checkpoint, networks = networks_of(request)
    rows, evidence = _each(bench, checkpoint, networks, meter)
    result = united(rows)
    shown = next((number for number, network in enumerate(result.networks) if network.shown), 0)
    return AuditedFile(result, evidence.pop(shown, None), tuple(sorted(evidence.items())))


def _each(
    bench: Bench, checkpoint: Checkpoint, networks: tuple[Network, ...], meter: Meter
) -> tuple[list[NetworkRecord], dict[int, Evidence]]:
    rows, evidence = list[NetworkRecord](), dict[int, Evidence]()
    failed: AuditError | None = None
    known = sum(network.refusal is None for network in networks)
    for number, network in enumerate(networks):
        row = record_of(network)
        if network.refusal is None:
            share = meter.share(1.0 / (known - number))
            try:
                audited = None if number and meter.exhausted() else _one(bench, checkpoint, networks, number, share)
            except CohortError:
                raise  # the films are the same for every network
            except AuditError as error:
                failed = failed or error
                row = row.model_copy(update={"why": error.what, "remedy": error.remedy})
            else:
                row = row.model_copy(update=_said(audited))
                if audited is not None and audited.evidence is not None:
                    evidence[number] = audited.evidence
        rows.append(row)
    if failed is not None and not any(row.audited for row in rows):
        raise failed
    return rows, evidence


def _said(audited: Audited | None) -> dict[str, object]:
    if audited is None:
        return {"why": LATE.why, "remedy": LATE.remedy}
    return {"audited": audited.result}


def _one(bench: Bench, checkpoint: Checkpoint, networks: tuple[Network, ...], number: int, meter: Meter) -> Audited:
    """The audit of one network alone."""
    network = networks[number]
    if len(networks) > 1:
        name = network.match.name if network.match else "not known"
        bench.environment.observer.notice(Noted(f"network {number + 1} of {len(networks)}: {network.place} ({name})"))
    own = alone(checkpoint, network)
    request = asked_of(network, bench.request, first=number == 0)

    environment = replace(bench.environment, store=_shelf(bench.environment.store, number))

    def run(request: AuditRequest) -> Audited:
        return run_audit(request, bench.films, environment, checkpoint=own, meter=meter)

    try:
        return run(request)
    except ArchitectureError:
        if number == 0 or request.base is None:
            raise
        return run(request.model_copy(update={"base": None}))  # the base is that of another network of the file


def _shelf(store: RunStore, number: int) -> RunStore:
    """Where the attack runs of the network with that number are kept: the first one's where they always are."""
    if number == 0:
        return store
    name = f"network_{number + 1}"
    folder = None if store.folder is None else store.folder / name
    return replace(store, folder=folder, earlier=tuple(earlier / name for earlier in store.earlier))


def kept(films: Films) -> Films:
    """``films`` that are read once for each frame, however many networks ask for them."""
    reference, holdout, prior = films.reference, films.holdout, films.prior
    return replace(
        films,
        reference=None if reference is None else _once(reference),
        holdout=None if holdout is None else _once(holdout),
        prior=None if prior is None else _once(prior),
    )


def _once(read: Callable[[Frame], Read]) -> Callable[[Frame], Read]:
    known: dict[tuple[object, ...], Read] = {}

    def look_up(frame: Frame) -> Read:
        wanted = (frame.spec, frame.side, frame.channels)
        if wanted not in known:
            known[wanted] = read(frame)
        return known[wanted]

    return look_up
