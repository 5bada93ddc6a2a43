"""What a preflight says. No patient, file or row is named in it, so it may be shown and stored anywhere."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from reid_audit.records import CohortName, Metric, Outcome, Record, Reduced

Topic = Literal[
    "films", "overlap", "ids", "labels", "duplicates", "policy", "prior", "network", "disk", "memory", "time"
]


class Finding(Record):
    """One thing somebody should know before the audit."""

    kind: Literal["fault", "limit", "note"]
    """``fault``: the audit cannot run. ``limit``: it can, but not to every verdict. ``note``: good to know."""
    topic: Topic
    text: str
    remedy: str = ""


class CohortCount(Record):
    """One cohort in numbers."""

    role: CohortName
    films: int
    patients: int
    files: int
    decoded: int
    """Films that were decoded; of the others only names, rows, headers and file ends were looked at."""
    known_patients: bool
    """False where nobody names the patients: each film counts as one."""
    ages: int
    sexes: int


class Cost(Record):
    """What an audit without a time budget would take on this machine, good to a factor of two."""

    network: str
    side: int
    """Pixels of the square network input."""
    side_by: str
    """Where the side comes from: weights, policy or the library's default."""
    stages: tuple[tuple[str, FiniteFloat], ...]
    """(stage, seconds)"""
    memory_bytes: int
    memory_free: int | None
    disk_bytes: int
    disk_free: int | None

    @property
    def seconds(self) -> float:
        """All stages together."""
        return sum(seconds for _, seconds in self.stages)


class PlannedStage(Record):
    """One stage of an audit, as a trial on this machine foresees it."""

    stage: str
    seconds: FiniteFloat
    memory_bytes: int
    """The most that the process holds meanwhile, libraries included."""
    evidence: tuple[Metric, ...] = ()
    """What it measures, or what cannot be measured without it."""


class Planned(Record):
    """What an audit will cost, from a few steps of its own attack and passes of its own network, and what it gives."""

    stages: tuple[PlannedStage, ...]
    """Those that there is time for."""
    reduced: tuple[Reduced, ...] = ()
    """What is made smaller, or left out, to fit the budget."""
    missing: tuple[Metric, ...] = ()
    """Evidence that there is no time for."""

    @property
    def seconds(self) -> float:
        """All stages together."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def memory_bytes(self) -> int:
        """The widest stage's."""
        return max((stage.memory_bytes for stage in self.stages), default=0)


class Preflight(Record):
    """What is known before the attack."""

    cohorts: tuple[CohortCount, ...]
    findings: tuple[Finding, ...]
    possible: tuple[Outcome, ...]
    """Verdicts that can be reached, as far as films, policy and their numbers decide."""
    cost: Cost | None = None
    """None where the network could not be built or tried."""
    budget: FiniteFloat | None = None
    """Seconds the command may take."""
    planned: Planned | None = None
    """The cost stage by stage as a trial foresees it; None where nobody asked for one."""

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What keeps the audit from running."""
        return tuple(finding for finding in self.findings if finding.kind == "fault")

    @property
    def verdict_possible(self) -> bool:
        """False where the audit could only end INCONCLUSIVE."""
        return Outcome.PASS in self.possible or Outcome.FAIL in self.possible
