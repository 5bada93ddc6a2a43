"""What several attack seeds say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reid_audit.records import Gap, Outcome, Verdict


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
