"""Everything a verdict depends on beside the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.audit.setup import Setup
from reid_audit.judge import Case, judge_seeds
from reid_audit.records import AttackRun, Measurement, Overlap, Policy, ReferenceSummary, Verdict, Waiver


@dataclass(frozen=True, slots=True, eq=False)
class AuditState:
    """Judges under the policy and the waivers."""

    policy: Policy
    waivers: tuple[Waiver, ...]
    seed: int
    setup: Setup
    cohorts: OpenedCohorts
    now: datetime
    references: ReferenceSummary | None = None
    """The reference models that membership was scored against."""

    @property
    def overlap(self) -> Overlap:
        """The worst of what the prior shares with each cohort; "unknown" without cohorts."""
        return self.cohorts.overlap(self.setup.prior_origin)

    def verdict(self, measured: Sequence[tuple[Measurement, ...]], runs: Sequence[AttackRun]) -> Verdict:
        """The verdict on what each attack seed ``measured``, the request's seed first."""
        cohorts = (cohort.summary for cohort in self.cohorts.given)
        file, network = self.setup.checkpoint.summary, self.setup.task.target.match
        case = Case.of(measured[0], file, network, self.overlap, cohorts, runs, self.references)
        return judge_seeds(case, measured, self.seed, self.policy, waivers=self.waivers, today=self.now.date())
