"""Two ResNet-18 on real chest films, audited end to end: one overfit on 16 patients, one trained with care on all.

    python -m benchmarks.real --data ../shared/data/nih_cxr14 [--seeds 0] [--doc docs/real.md]

64 px, sex as the label, hold-out and prior from the splits of the same set; the default policy and budget.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

from benchmarks.lab.data import SPEC, accuracy, few, sex_labels, splits
from benchmarks.lab.pages import Row, publish
from benchmarks.lab.training import overfit, regular
from reid_audit.audit import AuditedFile, AuditRequest, Environment, Films, PriorFilms, audit_file
from reid_audit.checking.reports import deliver
from reid_audit.cohort import Cohort
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.policy import policy_sha256
from reid_audit.records import Measured, Metric, Policy, PreprocessPolicy, find
from reid_audit.report import FORMATS

SIDE = 64
SHOWN = (
    Metric.LINKAGE_P,
    Metric.LINKAGE_AUC,
    Metric.REIDENTIFIED_PATIENTS,
    Metric.NEAREST_MEMBER_SHARE,
    Metric.MEMBERSHIP_AUC,
    Metric.MEMBERSHIP_TPR,
    Metric.ATTACK_POWER,
    Metric.MEMBERSHIP_CONTROL,
    Metric.SCORER_SENSITIVITY,
    Metric.NEGATIVE_CONTROL_P,
    Metric.EXCHANGEABILITY_P,
)


def make() -> torch.nn.Module:
    """The audited architecture."""
    module: torch.nn.Module = torchvision.models.resnet18(num_classes=2)
    return module


def audit(checkpoint: Path, reference: Cohort, holdout: Cohort, prior: Cohort, out: Path, seed: int) -> AuditedFile:
    """The command ``reid-audit check`` on cohorts that are already in memory."""
    policy = Policy(preprocess=PreprocessPolicy(declared=SPEC.model_copy(update={"side": SIDE})))
    request = AuditRequest(checkpoint=checkpoint, policy=policy, policy_sha256=policy_sha256(policy), seed=seed)
    films = Films(
        reference=lambda _: reference,
        holdout=lambda _: holdout,
        prior=lambda _: PriorFilms(prior, declared="NIH ChestX-ray14, split prior"),
    )
    console = console_for(quiet=False)
    with ConsoleObserver(console) as observer:
        found = audit_file(request, films, Environment(datetime.now(UTC), time.monotonic, observer=observer))
    deliver(found, out, FORMATS)
    show_result(console, found.result)
    return found


def row(name: str, found: AuditedFile, train: float, test: float) -> Row:
    """One line of the table."""
    cells = [
        name,
        f"{train:.2f} / {test:.2f}",
        f"{found.result.verdict.outcome.value} ({found.result.verdict.exit_code})",
    ]
    for metric in SHOWN:
        value = find(found.result.measurements, metric)
        if not isinstance(value, Measured):
            cells.append(value.reason.value)
            continue
        interval = "" if value.low is None or value.high is None else f" [{value.low:.2f}, {value.high:.2f}]"
        cells.append(f"{value.value:.3g}{interval}")
    cells.append(f"{found.result.spend.seconds:.0f}")
    return tuple(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--only", choices=["overfit", "regular"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/real"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    target, holdout, prior = splits(options.data, SIDE)
    rows = []
    for seed in options.seeds:
        for kind in ("overfit", "regular"):
            if options.only not in (None, kind):
                continue
            reference = few(target, options.patients, seed) if kind == "overfit" else target
            began = time.monotonic()
            train = overfit if kind == "overfit" else regular
            module = train(make, reference.images, sex_labels(reference), seed=seed)
            print(f"{kind}, seed {seed}: trained in {time.monotonic() - began:.0f} s", flush=True)
            folder = options.out / f"{kind}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            save_file(module.state_dict(), folder / "model.safetensors")
            found = audit(folder / "model.safetensors", reference, holdout, prior, folder, seed)
            name = f"{kind}, {reference.summary.patients} patients, seed {seed}"
            rows.append(row(name, found, accuracy(module, reference), accuracy(module, holdout)))
    head = ["target", "accuracy train / hold-out", "verdict (exit)", *(m.value for m in SHOWN), "seconds"]
    publish(head, rows, options.doc, keys=1)


if __name__ == "__main__":
    main()
