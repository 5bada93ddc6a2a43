"""Is a network's preprocessing recovered, and can a wrong one buy a PASS? docs/preprocessing.md from trained traps.

    python -m benchmarks.preprocessing run --data ../shared/data/nih_cxr14 [--device cuda] [--workers 8]
                                           [--only resnet18]
    python -m benchmarks.preprocessing table --doc docs/preprocessing.md

Each trap is a network trained on patients of the `target` split, by heart on a few in one batch or on many in
minibatches, or with care on many, under its own preprocessing (lab/traps.py). It is then asked with nothing declared
(the side neither), with the true preprocessing declared, and with wrong ones: another convention's values, the
deviation doubled, inverted, half the side, rows and columns swapped. For each the page shows the membership AUC and
whether a PASS would be possible as far as membership and `preprocess_fit` are concerned; a whole audit asks for more.
Finished traps are kept in ``--out``, one JSON line each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lab.asked import membership_under
from benchmarks.lab.command import carry_out, run_and_table
from benchmarks.lab.pages import Row, publish
from benchmarks.lab.rows import rows_of
from benchmarks.lab.traps import ARCHITECTURES, WITHOUT_STATISTICS, FilmSet, Trap, library, trained
from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import (
    Asked,
    Specimens,
    ask_network,
    choose_preprocessing,
    drawn,
    known_side,
)
from reid_audit.audit.preprocessing_control import answered_again, control_of, searched_again
from reid_audit.audit.request import Films
from reid_audit.network.search import Fitted
from reid_audit.records import Controls, Measured, Metric, PreprocessPolicy, PreprocessSpec, default_gates

NEAR = 0.02
"""Difference of AUC up to which a preprocessing counts as recovered."""
WRONG = ("imagenet", "doubled", "inverted", "half side", "turned")


def declared(trap: Trap, how: str) -> PreprocessPolicy:
    """``nothing``, the ``truth``, or a wrong preprocessing."""
    if how == "nothing":
        return PreprocessPolicy()
    truth = trap.truth
    spec = {
        "truth": lambda: truth,
        "imagenet": lambda: truth.model_copy(update={"mean": (0.449,), "std": (0.226,), "invert": False}),
        "doubled": lambda: truth.model_copy(update={"std": tuple(2 * value for value in truth.std)}),
        "inverted": lambda: truth.model_copy(update={"invert": not truth.invert}),
        "turned": lambda: truth.model_copy(update={"turn": "transpose" if truth.turn == "none" else "none"}),
        "half side": lambda: truth.model_copy(update={"side": max(32, (truth.side or 0) // 2)}),
    }[how]()
    return PreprocessPolicy(declared=PreprocessSpec(**spec.model_dump()))


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What does not depend on what is declared: made once for a trap."""

    pooled: Asked
    training: Specimens
    strangers: Specimens
    again: Fitted | None
    """The search with training films alone."""
    seconds: float
    """Of the pooled search."""

    @classmethod
    def of(cls, target: Target, films: FilmSet) -> Searched:
        sides = Films(reference=_framed, holdout=_framed, raw=films.draw)
        began = time.perf_counter()
        pooled = ask_network(target, None, drawn(target, None, sides))
        seconds = time.perf_counter() - began
        training = Specimens(films.members.films, labels=films.members.labels)
        by_answers = pooled.fit is not None and pooled.fit.by == "answers"
        again = answered_again if by_answers else searched_again
        return cls(pooled, training, Specimens(films.others.films), again(target, training), seconds)


def asked(target: Target, trap: Trap, films: FilmSet, searched: Searched, how: str) -> dict[str, Any]:
    """What an audit makes of the network with so much declared."""
    policy = declared(trap, how)
    if policy.declared is not None and known_side(target) is None:
        target = replace(target, match=target.match.model_copy(update={"side": policy.declared.side}))
    chosen = choose_preprocessing(target, policy, searched.pooled)
    rng = np.random.default_rng(0)
    control = control_of(target, chosen, searched.again, searched.training, searched.strangers, rng).measurement
    value = control.value if isinstance(control, Measured) else None
    met = value is not None and value <= Controls().preprocess_fit_excess
    membership = membership_under(target, films, chosen.spec)
    return {
        **membership,
        "spec": chosen.spec.model_dump(mode="json"),
        "by": chosen.by,
        "fit": value,
        "why": "" if isinstance(control, Measured) else control.reason.value,
        "met": met,
        "could_pass": met and cleared(membership),
        "seconds": searched.seconds,
    }


def cleared(membership: dict[str, float]) -> bool:
    """Whether the default policy's gates on membership let so much pass."""
    limits = {gate.metric: gate.clear for gate in default_gates()}
    high = {Metric.MEMBERSHIP_AUC: membership["auc_high"], Metric.MEMBERSHIP_TPR: membership["tpr_high"]}
    return all((limit := limits[metric]) is not None and found <= limit for metric, found in high.items())


def _framed(_: object) -> Any:
    raise ValueError("these films are read raw")


def caught(trap: Trap, data: Path, device: str) -> dict[str, Any]:
    """One trap, trained and asked."""
    films, place = FilmSet.of(data, trap), torch.device(device)
    module = trained(trap, films, place)
    state = {name: value.cpu() for name, value in module.state_dict().items()}
    target = identify(state)
    target = replace(target, module=target.module.to(place))
    ways = ("nothing", "truth", *WRONG)
    row = {"trap": trap.name, "recipe": trap.recipe, "statistics": trap.architecture not in WITHOUT_STATISTICS}
    searched = Searched.of(target, films)
    found = {how: asked(target, trap, films, searched, how) for how in ways}
    return row | {"side": trap.geometry.side, "ways": found}


def run(options: argparse.Namespace) -> None:
    done = {row["trap"] for row in rows_of(options.out)}
    traps = [t for t in library() if t.name not in done and t.name.startswith(tuple(options.only))]
    for row in results(traps, options):
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        nothing, truth = row["ways"]["nothing"], row["ways"]["truth"]
        print(f"{row['trap']}: AUC {nothing['auc']:.3f}, declared {truth['auc']:.3f}", flush=True)


def results(traps: list[Trap], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows as they are finished in the order of the traps."""
    if options.workers == 1:
        yield from (caught(trap, options.data, options.device) for trap in traps)
        return
    with ProcessPoolExecutor(options.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        yield from pool.map(caught, traps, [options.data] * len(traps), [options.device] * len(traps))


HEAD = (
    "trap",
    "asked with nothing declared",
    "AUC",
    "AUC, truth declared",
    "fit",
    "PASS possible",
    "wrong, PASS possible",
)


def row_of(row: dict[str, Any]) -> Row:
    """One line a trap."""
    nothing, truth = row["ways"]["nothing"], row["ways"]["truth"]
    spec = nothing["spec"]
    values = ", ".join(f"{v:.4g}" for v in spec["mean"]) + " / " + ", ".join(f"{v:.4g}" for v in spec["std"])
    kept = spec.get("keep")
    part = "" if kept is None else f"keep {', '.join(f'{edge:.3g}' for edge in kept)}, "
    part += "" if spec.get("turn", "none") == "none" else f"{spec['turn']}, "
    part += "" if spec.get("per_film", "none") == "none" else f"{spec['per_film']}, "
    found = f"{spec['side']} px, {part}{spec['interpolation']}, {values}{', inverted' if spec['invert'] else ''}"
    fit = "-" if nothing["fit"] is None else f"{nothing['fit']:.4f}"
    wrong = [how for how in WRONG if row["ways"].get(how, {}).get("could_pass")]
    possible = "yes" if nothing["could_pass"] else "no"
    return (
        row["trap"],
        found,
        f"{nothing['auc']:.3f}",
        f"{truth['auc']:.3f}",
        fit,
        possible,
        ", ".join(wrong) or "none",
    )


def counted(rows: Sequence[Row]) -> str:
    """The goals, and how many traps of the page meet them."""
    careful = [row for row in rows if row[0].endswith("careful")]
    by_heart = [row for row in rows if row not in careful]
    with_statistics = [row for row in by_heart if not row[0].startswith(WITHOUT_STATISTICS)]
    near = [row for row in with_statistics if round(abs(float(row[2]) - float(row[3])), 3) <= NEAR]
    passing = [row for row in by_heart if row[5] == "yes" or row[6] != "none"]
    kept = [row for row in careful if row[5] == "yes"]
    return "\n".join(
        (
            f"- recovered to a membership AUC within {NEAR} of the declared one: {len(near)} of {len(with_statistics)} "
            "networks with BatchNorm that know their films by heart",
            "- networks that know their films by heart and could PASS with nothing or something wrong declared: "
            f"{len(passing)} of {len(by_heart)}",
            f"- networks trained with care that could PASS with nothing declared: {len(kept)} of {len(careful)}",
        )
    )


def write(options: argparse.Namespace) -> None:
    publish(HEAD, [row_of(row) for row in rows_of(options.out)], options.doc, keys=1, above=counted)


def main() -> None:
    parser, running = run_and_table(__doc__, "preprocessing.jsonl", run, write)
    running.add_argument("--device", default="cpu")
    running.add_argument("--workers", type=int, default=1)
    running.add_argument("--only", nargs="+", default=[""], metavar="TRAP-PREFIX", help=", ".join(ARCHITECTURES))
    carry_out(parser)


if __name__ == "__main__":
    main()
