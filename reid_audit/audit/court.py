"""Everything a verdict depends on beside the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reid_audit.audit.request import AuditRequest
from reid_audit.audit.setup import Setup
from reid_audit.audit.sides import Sides
from reid_audit.judge import Overlap, judge
from reid_audit.records import ArmSummary, Measurement, StoppedBy, Verdict

COMPLETE = (StoppedBy.COMPLETE, StoppedBy.CONVERGED)


@dataclass(frozen=True, slots=True, eq=False)
class Court:
    """Judges under the request's policy and waivers."""

    request: AuditRequest
    setup: Setup
    sides: Sides
    now: datetime

    @property
    def overlap(self) -> Overlap:
        """The worst of what the prior shares with each cohort; "unknown" without cohorts."""
        return self.sides.overlap(self.setup.prior_origin)

    def verdict(self, measurements: tuple[Measurement, ...], arms: Sequence[ArmSummary]) -> Verdict:
        """The verdict on one attack seed."""
        return judge(
            measurements,
            self.request.policy,
            waivers=self.request.waivers,
            checkpoint_sha256=self.setup.checkpoint.summary.sha256,
            today=self.now.date(),
            prior_overlap=self.overlap,
            budget_complete=all(arm.spend.stopped_by in COMPLETE for arm in arms),
            has_reference=self.sides.reference is not None,
            has_holdout=self.sides.holdout is not None,
        )
