"""Everything a verdict depends on beside the measurements, and what several attack seeds say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reid_audit.audit.request import AuditRequest
from reid_audit.audit.setup import Setup
from reid_audit.audit.sides import Sides
from reid_audit.judge import Overlap, judge
from reid_audit.records import ArmSummary, Gap, Measurement, Outcome, StoppedBy, Verdict

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


def agreed(verdicts: Sequence[Verdict], seeds: Sequence[int], needed: int) -> Verdict:
    """One verdict from those of several attack seeds: the outcome that ``needed`` of them share, else INCONCLUSIVE.

    The first verdict with that outcome is returned, with a warning that says how each seed judged.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    told = ", ".join(f"seed {seed} {v.outcome.value}" for seed, v in zip(seeds, verdicts, strict=True))
    outcome, count = Counter(v.outcome for v in verdicts).most_common(1)[0]
    if count >= needed:
        first = next(v for v in verdicts if v.outcome is outcome)
        return first.model_copy(update={"warnings": (*first.warnings, f"repeats: {told}")})
    gap = Gap(
        text=f"the attack seeds disagree ({told}); {needed} of {len(verdicts)} must agree",
        remedy="repeat with more seeds and more steps; a seed that fails is evidence of a leak",
    )
    gaps = (gap, *(g for v in verdicts for g in v.gaps))
    return verdicts[0].model_copy(
        update={
            "outcome": Outcome.INCONCLUSIVE,
            "reason": f"No agreement: {gap.text}.",
            "breaches": (),
            "gaps": tuple(dict.fromkeys(gaps)),
        }
    )
