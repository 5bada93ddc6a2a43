"""One verdict on a file that holds several networks: the worst, and never a PASS while one of them was not audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reid_audit.judge.again import with_gaps
from reid_audit.records import AuditResult, Gap, NetworkRecord, Outcome, Verdict
from reid_audit.severity import WORST_FIRST


def united(networks: Sequence[NetworkRecord]) -> AuditResult:
    """The result of a file: that of the network with the worst verdict, with all the others listed.

    ``networks``: all of them, each with its own result where it was audited, and at least one was. Breaches and numbers
    are those of the network shown; gaps name every other network that lacks evidence or was not audited.
    """
    audited = [n.audited for n in networks if n.audited is not None]
    shown = min(audited, key=lambda result: WORST_FIRST.index(result.verdict.outcome))
    others = [n for n in networks if n.audited is not shown]
    if not others and not any(n.copies for n in networks):
        return shown
    rows = tuple(_row(n, shown) for n in networks)
    spend = shown.spend.model_copy(
        update={
            "seconds": sum(result.spend.seconds for result in audited),
            "steps": sum(result.spend.steps for result in audited),
        }
    )
    verdict = _with_others(shown.verdict, next(n for n in networks if n.audited is shown), others)
    return shown.model_copy(update={"verdict": verdict, "networks": rows, "spend": spend})


def parted(found: AuditResult) -> tuple[NetworkRecord, ...]:
    """The networks of a finished run, each with its own result."""
    if not found.networks:
        return (NetworkRecord(name="", audited=found),)
    return tuple(n if n.shown is False else n.model_copy(update={"audited": _alone(found, n)}) for n in found.networks)


def _alone(found: AuditResult, network: NetworkRecord) -> AuditResult:
    """What a file's result says of the network it shows."""
    own = {"verdict": network.verdict or found.verdict, "spend": network.spend or found.spend}
    return found.model_copy(update={"networks": (), **own})


def judged_each(found: AuditResult, judged: Callable[[AuditResult], AuditResult]) -> AuditResult:
    """``found`` with every network's result as ``judged`` gives it, and one verdict on all of them."""
    return united(
        [
            n if n.audited is None else n.model_copy(update={"audited": judged(n.audited)}) for n in parted(found)
        ]
    )  # fmt: skip


def _row(network: NetworkRecord, shown: AuditResult) -> NetworkRecord:
    own, mine = network.audited, network.audited is shown
    if own is None:
        return network
    return network.model_copy(
        update={"verdict": own.verdict, "spend": own.spend, "audited": None if mine else own, "shown": mine}
    )


def _with_others(verdict: Verdict, mine: NetworkRecord, others: Sequence[NetworkRecord]) -> Verdict:
    """The shown network's verdict, naming it where several were audited, with what the others lack."""
    failed = [n for n in others if n.audited is not None and n.audited.verdict.outcome is Outcome.FAIL]
    verdict = with_gaps(verdict, _gaps(others))
    reason = verdict.reason
    if others and verdict.outcome is Outcome.FAIL:
        also = f" So do: {', '.join(n.place for n in failed)}." if failed else ""
        reason = f"The network {mine.place} fails: {reason}{also}"
    if others and verdict.outcome is Outcome.PASS:
        reason = f"All {len(others) + 1} networks of the file: {reason[0].lower()}{reason[1:]}"
    return verdict.model_copy(update={"reason": reason})


def _gaps(others: Sequence[NetworkRecord]) -> list[Gap]:
    """What the networks beside the shown one lack for a PASS."""
    gaps = []
    for network in others:
        if network.audited is None:
            gaps.append(Gap(text=f"network {network.place}: {network.why}", remedy=network.remedy))
        elif network.audited.verdict.outcome is Outcome.INCONCLUSIVE:
            said = network.audited.verdict
            remedy = said.gaps[0].remedy if said.gaps else "audit it alone"
            gaps.append(Gap(text=f"network {network.place}: {said.reason}", remedy=remedy))
    return gaps
