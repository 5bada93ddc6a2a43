"""The steps of a check in their order, from the options to the written reports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.checking.ahead import looked_ahead, refuse_late
from reid_audit.checking.caller import Caller
from reid_audit.checking.options import CheckOptions
from reid_audit.checking.reports import deliver
from reid_audit.checking.request import Asked, asked
from reid_audit.checking.rules import Rules
from reid_audit.observer import stage
from reid_audit.runs import ATTACK_RUNS, begun, finish, runs_below

if TYPE_CHECKING:
    from reid_audit.audit import AuditedFile, Environment


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An audit whose reports are written."""

    audited: AuditedFile
    folder: Path
    newest: bool
    """Whether ``latest`` leads to it."""


def carry_out(options: CheckOptions, rules: Rules, caller: Caller) -> Finished:
    """A check from its options to the written reports. Raises AuditError where no verdict can exist."""
    with ready(options, rules, caller) as wanted, begun(options.out, datetime.now(UTC), wanted.sha256) as folder:
        audited = audit(wanted, folder)
        with stage(caller.observer, "writing reports", brief=True):
            deliver(audited, folder, options.formats)
        return Finished(audited, folder, finish(folder))


@contextmanager
def previewed(options: CheckOptions, rules: Rules, caller: Caller) -> Iterator[Asked]:
    """What a check is to do, once the preflight lets it start; nothing was attacked yet."""
    with asked(options, rules, caller) as wanted:
        yield looked_ahead(wanted)


@contextmanager
def ready(options: CheckOptions, rules: Rules, caller: Caller) -> Iterator[Asked]:
    """``previewed`` where there is time left for an audit."""
    with previewed(options, rules, caller) as wanted:
        refuse_late(wanted)
        yield wanted


def audit(wanted: Asked, folder: Path) -> AuditedFile:
    """The audit itself; finished attack runs are kept in ``folder``."""
    from reid_audit.audit import audit_file

    return audit_file(wanted.request, wanted.films, environment_of(wanted, folder))


def environment_of(wanted: Asked, folder: Path | None = None) -> Environment:
    """Time, observer and what is kept of the audits of a check. folder: of the run, None where there are several."""
    from reid_audit.audit import ControlCache, Environment
    from reid_audit.store import RunStore

    options, store = wanted.options, RunStore()
    if folder is not None:
        earlier = [run / ATTACK_RUNS for run in runs_below(options.out) if run != folder] if options.resume else ()
        store = RunStore(folder / ATTACK_RUNS, earlier=tuple(earlier))
    return Environment(
        now=datetime.now(UTC),
        clock=time.monotonic,
        began=wanted.caller.began,
        observer=wanted.caller.observer,
        store=store,
        cache=ControlCache(options.cache),
    )
