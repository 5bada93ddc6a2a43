"""Networks that learned hundreds of films in minibatches, seen in a wrong frame: what it hides, and who notices.

    python -m benchmarks.frames --data ../shared/data/nih_cxr14 --doc docs/preprocessing.md

Two ResNet-18 at 32 pixels, one that knows 388 patients by heart and one trained with care (lab/learned.py), are asked
in the frame of their training, with another interpolation, with a crop from 37 to 32 pixels that training did not
have, at another side, and with both. Membership is scored without reference models, by film; `preprocess_fit` as an
audit has it where the frame is declared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.lab.asked import membership_under
from benchmarks.lab.learned import NETWORKS, Network, trained
from benchmarks.lab.pages import Row, publish
from benchmarks.lab.targets import Bench
from benchmarks.lab.traps import FilmSet
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.audit.hidden_membership import hidden_membership
from reid_audit.audit.preprocessing import Chosen, Specimens
from reid_audit.audit.preprocessing_control import BESIDE_STATISTICS, by_answers, held_against, searched_again
from reid_audit.cohort import Source, sample_pooled
from reid_audit.network.answers import outputs_under
from reid_audit.network.information import information
from reid_audit.network.joint_fit import joint_fit
from reid_audit.network.search import ALL, MANY, Fitted
from reid_audit.preprocess import HALF
from reid_audit.records import Measured, Measurement, PreprocessSpec

SIDE, BEFORE_CROP, OTHER_SIDE = 32, 37, 40
NAMES = ("resnet18-32-heart-1", "resnet18-32-care-0")
FRAMES: dict[str, PreprocessSpec] = {
    "of the training": HALF.model_copy(update={"side": SIDE}),
    "lanczos": HALF.model_copy(update={"side": SIDE, "interpolation": "lanczos"}),
    f"crop {BEFORE_CROP} to {SIDE}": HALF.model_copy(
        update={"side": SIDE, "resize": "shorter", "crop": "center", "resize_to": BEFORE_CROP}
    ),
    f"crop {BEFORE_CROP * OTHER_SIDE // SIDE} to {OTHER_SIDE}": HALF.model_copy(
        update={
            "side": OTHER_SIDE,
            "resize": "shorter",
            "crop": "center",
            "resize_to": BEFORE_CROP * OTHER_SIDE // SIDE,
        }
    ),
    f"{OTHER_SIDE} pixels": HALF.model_copy(update={"side": OTHER_SIDE}),
}
HEAD = (
    "network",
    "frame",
    "unexplained by the joint fit",
    "information of the answers, nats",
    "membership AUC",
    "fit by statistics",
    "fit by answers",
    "fit by membership",
)


def films_of(data: Path) -> FilmSet:
    """All films of both cohorts, raw."""
    sides = (Source(data, {"split": split}, label="sex") for split in ("target", "holdout"))
    return FilmSet(*(sample_pooled([side], count=10_000, seed=0) for side in sides))


def rows_of(network: Network, films: FilmSet, bench: Bench, folder: Path) -> Iterator[Row]:
    """One row for each frame."""
    target = identify(load_file(trained(network, bench, folder, torch.device("cpu"))), side=SIDE)
    pooled = Specimens(films.draw(("reference", "holdout"), ALL).films)
    training = Specimens(films.members.films, labels=films.members.labels)
    strangers, again = Specimens(films.others.films), searched_again(target, training)
    for name, spec in FRAMES.items():
        asked = [shown(each) for each in controls(target, spec, training, strangers, again)]
        fit = joint_fit(target, spec, pooled.at(spec, ALL))
        auc = membership_under(target, films, spec)["auc"]
        left = "" if fit is None else f"{fit.unexplained:.4f}"
        outputs = outputs_under(target, pooled.at(spec, MANY), spec)
        nats = None if outputs is None else information(target.match.head, outputs)
        yield network.name, name, left, "" if nats is None else f"{nats:.2f}", f"{auc:.2f}", *asked


def controls(
    target: Target, spec: PreprocessSpec, training: Specimens, strangers: Specimens, again: Fitted | None
) -> tuple[Measurement, ...]:
    """`preprocess_fit` of a declared ``spec``: by the stored statistics, by the answers, and by membership."""
    chosen, rng = Chosen(spec, "policy", None), np.random.default_rng(0)
    found = () if again is None else (again.best,)
    return (
        held_against(target, chosen, training, again, rng),
        by_answers(target, chosen, training, again, rng, allowed=BESIDE_STATISTICS),
        hidden_membership(target, spec, found, training, strangers).measurement,
    )


def shown(found: Measurement) -> str:
    return f"{found.value:.2f}" if isinstance(found, Measured) else found.reason.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/membership"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    bench, films = Bench.at(options.data, SIDE), films_of(options.data)
    rows = [row for network in NETWORKS if network.name in NAMES for row in rows_of(network, films, bench, options.out)]
    publish(HEAD, rows, options.doc, keys=2, mark="frames")


if __name__ == "__main__":
    main()
