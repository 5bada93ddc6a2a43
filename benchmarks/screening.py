"""How often a screening, without training films, flags networks that know their films by heart, and others.

    python -m benchmarks.screening [--seeds 5] [--steps 150]

The demo's four targets, attacked from several seeds under ``evidence = "checkpoint"``. A run is flagged where the lower
end of the interval of ``consensus`` lies above that of the attack without the weights, or where there are more likely
samples than without them. Minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from reid_audit.audit import AuditRequest, Environment, Films, PriorFilms, run_audit
from reid_audit.demo.targets import SPEC, TARGETS, TargetName, demo_case
from reid_audit.policy import policy_sha256
from reid_audit.records import (
    AuditResult,
    Budget,
    Measured,
    Metric,
    Policy,
    PreprocessPolicy,
    References,
    find,
)

HEADER = (
    "| network | seeds | consensus, least to most | without the weights | agreement flagged | likely samples flagged "
    "| verdicts |\n|---|---|---|---|---|---|---|"
)


def screened(name: TargetName, seed: int, steps: int) -> AuditResult:
    """One screening of a target of the demo, with no film but the prior's."""
    case = demo_case(name)
    policy = Policy(
        evidence="checkpoint",
        budget=Budget(steps=steps, particles=(8, 16)),
        preprocess=PreprocessPolicy(declared=SPEC),
        references=References(when="off"),
        demographics="off",
    )
    request = AuditRequest(
        checkpoint=case.checkpoint, policy=policy, policy_sha256=policy_sha256(policy), seed=seed, device="cpu"
    )
    films = Films(prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"))
    return run_audit(request, films, Environment(datetime.now(UTC), time.monotonic)).result


def flagged(result: AuditResult, metric: Metric) -> bool:
    """Whether the lower end of ``metric`` lies above its control."""
    found = find(result.measurements, metric)
    if not isinstance(found, Measured) or found.control is None:
        return False
    return (found.value if found.low is None else found.low) > found.control


def row(name: TargetName, results: list[AuditResult]) -> str:
    """One row of the table."""
    agreed = [m for r in results if isinstance(m := find(r.measurements, Metric.CONSENSUS), Measured)]
    values, controls = [m.value for m in agreed], [m.control for m in agreed if m.control is not None]
    shares = [sum(flagged(r, metric) for r in results) for metric in (Metric.CONSENSUS, Metric.LIKELY_SAMPLES)]
    verdicts = sorted({r.verdict.outcome.value for r in results})
    count = len(results)
    spans = [f"{min(part):.2f} to {max(part):.2f}" if part else "-" for part in (values, controls)]
    cells = [name, str(count), *spans, *(f"{share} of {count}" for share in shares), ", ".join(verdicts)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--steps", type=int, default=150)
    given = asked.parse_args()
    print(HEADER, flush=True)
    for name in TARGETS:
        print(row(name, [screened(name, seed, given.steps) for seed in range(given.seeds)]), flush=True)


if __name__ == "__main__":
    main()
