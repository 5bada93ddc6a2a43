"""The gate's confusion table: really trained targets, audited end to end, verdict by verdict.

    python -m benchmarks.confusion run --data ../shared/data/nih_cxr14
    python -m benchmarks.confusion table --doc docs/confusion.md

Overfit networks have 8 to 64 training patients and no augmentation, regular ones are trained with augmentation and
weight decay on every film of the `target` split; those by epochs saw the same films in minibatches, without either,
until they knew them by heart. Finished audits are kept in ``--out``, one JSON line each; rows of
the page that were not audited again stay.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.data import SPEC, accuracy
from benchmarks.lab.pages import Row, markdown, publish
from benchmarks.lab.rows import rows_of
from benchmarks.lab.targets import Bench, Target, base_of, weights_of
from reid_audit.arch.identify import identify
from reid_audit.audit import AuditRequest, Environment, Films, PriorFilms, run_audit
from reid_audit.policy import policy_sha256
from reid_audit.records import Budget, Measured, Metric, Policy, PreprocessPolicy, find

SIDE = 32
OVERFIT = tuple(Target("resnet18", SIDE, n, seed) for seed in (0, 1) for n in (8, 16, 32, 64))
REGULAR = tuple(Target("resnet18", SIDE, 0, seed) for seed in range(10))
EPOCHS = tuple(Target("resnet18", SIDE, 0, seed, epochs=True) for seed in (0, 1))
VIT = tuple(Target("vit_tiny_patch16_224", 2 * SIDE, n, seed) for seed in (0, 1) for n in (16, 0))
FINETUNED = tuple(Target("vit_tiny_patch16_224", 2 * SIDE, n, 0, base=True) for n in (8, 16, 0))
"""Audited with their base. 0: every film, augmented; the others by heart."""
TARGETS = (
    *(*OVERFIT[:4], *REGULAR[:2], *EPOCHS[:1], *VIT[:2], *FINETUNED),
    *(*OVERFIT[4:], *REGULAR[2:], *EPOCHS[1:], *VIT[2:]),
)
"""In an order in which every kind has been seen early."""
SHOWN = (
    Metric.LINKAGE_P,
    Metric.LINKAGE_AUC,
    Metric.MEMBERSHIP_AUC,
    Metric.MEMBERSHIP_TPR,
    Metric.ATTACK_POWER,
    Metric.MEMBERSHIP_CONTROL,
    Metric.NEGATIVE_CONTROL_P,
)


def audited(target: Target, path: Path, base: Path | None, bench: Bench, steps: int) -> dict[str, Any]:
    """One audit under the default policy with ``steps``, as a row."""
    spec = SPEC.model_copy(update={"side": target.side})
    policy = Policy(preprocess=PreprocessPolicy(declared=spec), budget=Budget(steps=steps))
    request = AuditRequest(
        checkpoint=path,
        policy=policy,
        policy_sha256=policy_sha256(policy),
        seed=target.seed,
        architecture=target.architecture,
        base=base,
    )
    films = Films(
        reference=lambda _: bench.members(target),
        holdout=lambda _: bench.holdout,
        prior=lambda _: PriorFilms(bench.prior, declared="NIH ChestX-ray14, split prior"),
    )
    began = time.process_time()
    result = run_audit(request, films, Environment(datetime.now(UTC), time.monotonic)).result
    row: dict[str, Any] = {
        "target": target.name,
        "architecture": target.architecture,
        "outcome": result.verdict.outcome.value,
        "exit_code": result.verdict.exit_code,
        "reasons": [gap.text for gap in result.verdict.gaps],
        "cpu_seconds": time.process_time() - began,
    }
    for metric in SHOWN:
        found = find(result.measurements, metric)
        row[metric.value] = [found.value, found.low, found.high] if isinstance(found, Measured) else found.reason.value
    return row


def run(options: argparse.Namespace) -> None:
    benches: dict[int, Bench] = {}
    done = {row["target"] for row in rows_of(options.out)}
    for target in TARGETS:
        if target.name in done or not target.name.startswith(tuple(options.only)):
            continue
        if target.side not in benches:
            benches[target.side] = Bench.at(options.data, target.side)
        bench = benches[target.side]
        folder = options.out.parent / "targets"
        path = weights_of(target, bench, folder)
        base = base_of(target, bench, folder) if target.base else None
        row = audited(target, path, base, bench, options.steps) | {"steps": options.steps}
        network = identify(load_file(path), side=target.side)
        row["accuracy"] = accuracy(network.module, bench.members(target))
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{target.name}: {row['outcome']} {row['cpu_seconds']:.0f} s", flush=True)


def shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    number, low, high = value
    return f"{number:.3g}" if low is None else f"{number:.2f} [{low:.2f}, {high:.2f}]"


HEAD = ("target", "training accuracy", "verdict (exit)", *(metric.value for metric in SHOWN), "CPU s")
OUTCOMES = ("fail", "inconclusive", "pass")
KINDS = {
    r"-overfit-": "overfit",
    r"-epochs-": "epochs",
    r"-regular-": "regular",
    r"-finetuned-\d+-\d+": "fine-tuned by heart",
    r"-finetuned-\d+$": "fine-tuned with care",
}
"""What a target's name says of its training."""


def row_of(audit: dict[str, Any]) -> Row:
    """One line an audit."""
    cells = (shown(audit[metric.value]) for metric in SHOWN)
    verdict = f"{audit['outcome']} ({audit['exit_code']})"
    return (audit["target"], f"{audit['accuracy']:.2f}", verdict, *cells, f"{audit['cpu_seconds']:.0f}")


def counts(rows: Sequence[Row]) -> str:
    """How often each kind of network got each verdict."""
    found: dict[str, list[str]] = {}
    for name, _, verdict, *_ in rows:
        kind = next(words for part, words in KINDS.items() if re.search(part, name))
        found.setdefault(f"{name.split('-')[0]}, {kind}", []).append(verdict.split()[0])
    lines = [
        (f"{kind} ({len(verdicts)})", *(str(verdicts.count(outcome)) for outcome in OUTCOMES))
        for kind, verdicts in sorted(found.items(), key=lambda item: item[0].split(", ")[::-1])
    ]
    return markdown(("targets", *(outcome.upper() for outcome in OUTCOMES)), lines)


def write(options: argparse.Namespace) -> None:
    publish(HEAD, [row_of(audit) for audit in rows_of(options.out)], options.doc, keys=1, above=counts)


def main() -> None:
    parser, running = run_and_table(__doc__, "confusion.jsonl", run, write)
    running.add_argument("--steps", type=int, default=300)
    running.add_argument("--only", nargs="+", default=[""], metavar="TARGET-PREFIX")
    carry_out(parser)


if __name__ == "__main__":
    main()
