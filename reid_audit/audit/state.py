"""Everything a verdict depends on beside the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reid_audit.audit.cohorts import OpenedCohorts
from reid_audit.audit.request import AuditRequest
from reid_audit.audit.setup import Setup
from reid_audit.judge import Overlap, doubt_gaps, judge, with_gaps
from reid_audit.records import AttackRun, Measurement, StoppedBy, Verdict

COMPLETE = (StoppedBy.COMPLETE, StoppedBy.CONVERGED)


@dataclass(frozen=True, slots=True, eq=False)
class AuditState:
    """Judges under the request's policy and waivers."""

    request: AuditRequest
    setup: Setup
    cohorts: OpenedCohorts
    now: datetime

    @property
    def overlap(self) -> Overlap:
        """The worst of what the prior shares with each cohort; "unknown" without cohorts."""
        return self.cohorts.overlap(self.setup.prior_origin)

    def verdict(self, measurements: tuple[Measurement, ...], runs: Sequence[AttackRun]) -> Verdict:
        """The verdict on one attack seed."""
        found = judge(
            measurements,
            self.request.policy,
            waivers=self.request.waivers,
            checkpoint_sha256=self.setup.checkpoint.summary.sha256,
            today=self.now.date(),
            prior_overlap=self.overlap,
            budget_complete=all(run.spend.stopped_by in COMPLETE for run in runs),
            has_reference=self.cohorts.reference is not None,
            has_holdout=self.cohorts.holdout is not None,
        )
        return with_gaps(found, doubt_gaps(self.setup.task.target.match))
