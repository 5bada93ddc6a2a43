"""What an audit takes from outside beside its request and its films."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from reid_audit.audit.power_control import ControlCache
from reid_audit.budget import Clock
from reid_audit.observer import Observer, SilentObserver
from reid_audit.store import RunStore


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """Time, who hears of the progress, and where finished parts of audits are kept."""

    now: datetime
    """The date of the audit: waivers expire by it."""
    clock: Clock
    began: float | None = None
    """Reading of ``clock`` from which on the budget counts; None: from now on."""
    observer: Observer = field(default_factory=SilentObserver)
    store: RunStore = field(default_factory=RunStore)
    """Keeps finished attack runs, so that an interrupted audit can go on."""
    cache: ControlCache = field(default_factory=ControlCache)
    """Keeps what controls gave, for later audits of the same inputs."""
