"""The tables of docs/study.md, from the cells of benchmarks/study.py: the study's, ours, its control and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lab.pages import Row
from benchmarks.lab.slides import ENTROPY, FID, KINDS, KURTOSIS, LIKELY, READINGS, Shift, alike
from reid_audit.records import Metric

STUDY, AGREEMENT, SIZES = "two-stage", "agreement", "sizes"
Cells = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page."""

    head: tuple[str, ...]
    keys: int
    """How many columns say which row it is."""
    rows: Callable[[Cells], list[Row]]


def value(cell: dict[str, Any], metric: Metric, part: str = "value", form: str = ".2f") -> str:
    """One number of a cell; "-" where it was not measured."""
    found = cell["found"].get(metric.value, {}).get(part)
    return "-" if found is None else format(found, form)


def interval(cell: dict[str, Any], metric: Metric) -> str:
    """A number with its 95 % interval."""
    return f"{value(cell, metric)} [{value(cell, metric, 'low')}, {value(cell, metric, 'high')}]"


def pairs_of(cells: Cells) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """The study's attack on each of its targets, and on that target's twin."""
    twins = {(c["kind"], c["budget"], c["seed"]): c for c in cells if c["method"] == STUDY and c["twin"]}
    for cell in cells:
        if cell["method"] == STUDY and not cell["twin"] and cell["kind"] in KINDS:
            yield cell, twins.get((cell["kind"], cell["budget"], cell["seed"]))


def name_of(cell: dict[str, Any]) -> tuple[str, str]:
    """The first two columns of every table of ours: which network, and how it was attacked."""
    return f"{cell['kind']}, seed {cell['seed']}", f"{cell['budget']}, {cell['device']}"


def networks(cells: Cells) -> list[Row]:
    """What the networks are, and what the weights give away of them."""
    return [
        (
            *name_of(cell),
            " / ".join(f"{share:.2f}" for share in cell["accuracy"]),
            interval(cell, Metric.MEMBERSHIP_AUC),
            interval(cell, Metric.MEMBERSHIP_TPR),
            interval(cell, Metric.LINKAGE_AUC),
            value(cell, Metric.LINKAGE_P, form=".4f"),
            value(cell, Metric.REIDENTIFIED_PATIENTS, form=".0f"),
            value(cell, Metric.NEGATIVE_CONTROL_P),
            value(cell, Metric.EXCHANGEABILITY_P),
            f"{cell['cpu_seconds']:.0f}",
        )
        for cell, _ in pairs_of(cells)
    ]


GENERATORS = ("prior", "tuned", "reference")
"""What the distribution metrics call the original generator, the tuned one and the training films."""
SHAPES = (
    ("pixel entropy", "entropy", ENTROPY, tuple(Metric(f"pixel_entropy_{name}") for name in GENERATORS)),
    ("PCA kurtosis", "kurtosis", KURTOSIS, tuple(Metric(f"pca_kurtosis_{name}") for name in GENERATORS)),
)


def shapes(cells: Cells) -> list[Row]:
    """Entropy and kurtosis: original, tuned, target."""
    table: list[Row] = []
    for cell, twin in pairs_of(cells):
        for figure, key, theirs, (original, tuned, target) in SHAPES:
            table.append(
                (
                    *name_of(cell),
                    figure,
                    shift(theirs[cell["kind"]]),
                    f"{value(cell, original)} to {value(cell, tuned)} ({value(cell, target)})",
                    "-" if twin is None else value(twin, tuned),
                    *nearness(cell, key, 2),
                )
            )
    return table


def shift(figures: Shift) -> str:
    """A figure of the study as it is written in our column."""
    return f"{figures.original:.2f} to {figures.tuned:.2f} ({figures.target:.2f})"


def nearness(cell: dict[str, Any], key: str, places: int) -> tuple[str, str, str]:
    """Distances of the original and the tuned generator to the training films, to those of others, and both p."""
    made = [cell["towards"][name][key] for name in ("original", "tuned") if name in cell["towards"]]
    own, others = (" / ".join(f"{found[i]:.{places}f}" for found in made) for i in (0, 1))
    return own, others, " / ".join(f"{found[2]:.2f}" for found in made)


def frechets(cells: Cells) -> list[Row]:
    """Frechet distances."""
    table: list[Row] = []
    for cell, twin in pairs_of(cells):
        theirs = FID[cell["kind"]]
        moved = (value(cell, metric, form=".1f") for metric in (Metric.FID_PRIOR_TUNED, Metric.FID_TUNED_REFERENCE))
        table.append(
            (
                *name_of(cell),
                f"{theirs[0]:.0f}, {theirs[1]:.0f}",
                ", ".join(moved),
                value(cell, Metric.FID_TUNED_REFERENCE, "control", ".1f"),
                *nearness(cell, "fid", 1),
                "-" if twin is None else f"{twin['towards']['tuned']['fid'][0]:.1f}",
            )
        )
    return table


def likely(cells: Cells) -> list[Row]:
    """The count of likely samples and how alike they are to their nearest match, before and after calibration."""
    table: list[Row] = []
    for cell, twin in pairs_of(cells):
        ssim, nn = alike(cell["kind"])
        table.append(
            (
                *name_of(cell),
                f"{len(LIKELY[cell['kind']])}; {ssim:.2f}, {nn:.2f}",
                count_of(cell),
                "-" if twin is None else count_of(twin),
                four(cell, twin, Metric.NEAREST_SSIM),
                four(cell, twin, Metric.NEAREST_NN),
                by_chance(cell),
                survives(cell),
            )
        )  # fmt: skip
    return table


def by_chance(cell: dict[str, Any]) -> str:
    """Likely samples whose nearest patient was in training, beside the number expected by chance."""
    metric = Metric.LIKELY_SAMPLES
    ends = (value(cell, metric, end, ".1f") for end in ("low", "high"))
    return f"{value(cell, metric, form='.0f')} ({value(cell, metric, 'control', '.1f')}) [{', '.join(ends)}]"


def count_of(cell: dict[str, Any]) -> str:
    """Likely samples as the study counts them, and how many reconstructions there were."""
    counted = cell["untuned"].get(Metric.LIKELY_SAMPLES.value, {})
    return f"{counted['value']:.0f} of {counted['n']}" if counted else "-"


def four(cell: dict[str, Any], twin: dict[str, Any] | None, metric: Metric) -> str:
    """Likeness to the nearest training patient: of the likely samples, of a twin's, of un-tuned ones; and of the likely
    samples to the nearest of equally many hold-out patients."""
    untuned = cell["untuned"].get(metric.value, {}).get("control")
    numbers = (
        value(cell, metric),
        "-" if twin is None else value(twin, metric),
        "-" if untuned is None else f"{untuned:.2f}",
        value(cell, metric, "control"),
    )
    return " / ".join(numbers)


def survives(cell: dict[str, Any]) -> str:
    """Whether more likely samples than chance explains have a training patient as their nearest one."""
    found = cell["found"].get(Metric.LIKELY_SAMPLES.value)
    if found is None or not cell["untuned"][Metric.LIKELY_SAMPLES.value]["value"]:
        return "no: there are none"
    return "yes" if found["low"] > found["control"] else "no"


def demographic(cells: Cells) -> list[Row]:
    """Age and sex on the reconstruction and on its nearest match against the truth."""
    table: list[Row] = []
    for cell, twin in pairs_of(cells):
        theirs = READINGS[cell["kind"]]
        age = [sum(abs(getattr(r, f"age_{n}") - r.age_true) for r in theirs) / len(theirs) for n in ("made", "nearest")]
        sex = [sum(getattr(r, f"sex_{n}") == r.sex_true for r in theirs) for n in ("made", "nearest")]
        said = {
            "age_mae": f"{age[0]:.1f} / {age[1]:.1f}, {len(theirs)} rows",
            "sex_accuracy": f"{sex[0] / len(theirs):.2f} / {sex[1] / len(theirs):.2f}, {len(theirs)} rows",
        }
        for metric, (question, form) in QUESTIONS.items():
            first = (*name_of(cell), question)
            table.append((*first, "likely", said[metric], *agreement(cell, twin, metric, form)))
            for other in cells:
                if name_of(other) == name_of(cell) and not other["twin"] and other.get("everyone"):
                    beside = twin if other["method"] == STUDY else None
                    figures = agreement(everyone(other), beside and everyone(beside), metric, form)
                    table.append((*first, f"all of `{other['method']}`", "-", *figures))
    return table


QUESTIONS = {"age_mae": ("age, years off", ".1f"), "sex_accuracy": ("sex, share right", ".2f")}
"""What is read, by the first words of its metrics."""


def everyone(cell: dict[str, Any]) -> dict[str, Any]:
    """``cell`` with the readings of all its reconstructions in the place of those of its likely samples."""
    return cell | {"found": cell["everyone"]}


def agreement(cell: dict[str, Any], twin: dict[str, Any] | None, name: str, form: str) -> Row:
    """What is read from reconstructions against the truth of the nearest training patient, of the nearest hold-out
    patient, and of the one nearest to a twin's; p; the people behind it; what is read from the nearest film itself; and
    the guess that needs no image."""
    made, nearest, base = (Metric(f"{name}_{part}") for part in ("reconstruction", "nearest", "base"))
    return (
        value(cell, made, form=form),
        value(cell, made, "control", form),
        "-" if twin is None else value(twin, made, form=form),
        value(cell, made, "p"),
        value(cell, made, "n", "d"),
        value(cell, nearest, form=form),
        value(cell, base, form=form),
    )


def attacks(cells: Cells) -> list[Row]:
    """Every method on every network, side by side."""
    return [
        (
            *name_of(cell),
            cell["method"],
            interval(cell, Metric.LINKAGE_AUC),
            value(cell, Metric.LINKAGE_P, form=".4f"),
            value(cell, Metric.REIDENTIFIED_PATIENTS, form=".0f"),
            f"{value(cell, Metric.NEAREST_MEMBER_SHARE)} ({value(cell, Metric.NEAREST_MEMBER_SHARE, 'control')})",
            count_of(cell),
            f"{value(cell, Metric.NEAREST_SSIM)} / {value(cell, Metric.NEAREST_SSIM, 'control')}",
            f"{value(cell, Metric.NEAREST_NN)} / {value(cell, Metric.NEAREST_NN, 'control')}",
            f"{cell['cpu_seconds']:.0f}",
        )
        for cell in cells
        if not cell["twin"] and cell["method"] not in (AGREEMENT, SIZES)
    ]


def sizes(cells: Cells) -> list[Row]:
    """What the number of people alone makes of entropy and kurtosis."""
    return [
        (people, f"{entropy:.2f}", f"{kurtosis:.2f}")
        for cell in cells
        if cell["method"] == SIZES
        for people, (entropy, kurtosis) in cell["sizes"].items()
    ]


def agreements(cells: Cells) -> list[Row]:
    """How much attacks from different seeds agree, where no film is given; and what films say of them."""
    return [
        (
            f"{cell['kind']}, seed {cell['seed']}",
            f"{cell['agreement']:.2f} ({cell['least']:.2f} to {cell['most']:.2f})",
            f"{cell['samples']:.2f}",
            f"{cell['flagged']} of {cell['pairs']}",
            interval(cell, Metric.LINKAGE_AUC),
            value(cell, Metric.LINKAGE_P, form=".4f"),
            value(cell, Metric.REIDENTIFIED_PATIENTS, form=".0f"),
        )
        for cell in cells
        if cell["method"] == AGREEMENT
    ]


WHICH = ("network", "steps x particles")
NEAR = ("to the training films, original / tuned", "to as many other patients", "p, original / tuned")
TABLES = {
    "networks": Table(
        (*WHICH, "accuracy, training / hold-out", "membership AUC", "membership TPR at 1 % FPR", "linkage AUC",
         "linkage p", "re-identified", "p without the network", "p, cohorts alike", "CPU s"), 2, networks,
    ),
    "shapes": Table(
        (*WHICH, "figure", "study: original to tuned (target)", "ours: original to tuned (training films)",
         "twin, tuned", *(f"distance {words}" for words in NEAR[:1]), *NEAR[1:]), 3, shapes,
    ),
    "sizes": Table(("hold-out patients", "pixel entropy", "PCA kurtosis"), 1, sizes),
    "frechet": Table(
        (*WHICH, "study: original to tuned, tuned to target", "ours: the same two",
         "the floor", *NEAR, "twin, tuned, to the training films"), 2, frechets,
    ),
    "likely": Table(
        (*WHICH, "study: count; SSIM, NN", "ours: count", "twin: count",
         "SSIM to a training patient: ours / twin / un-tuned; to a hold-out patient", "NN, the same",
         "nearest was in training (chance) [95 %]", "survives"), 2, likely,
    ),
    "demographics": Table(
        (*WHICH, "figure", "samples", "study: reconstruction / nearest match",
         "ours: against the nearest training patient",
         "the nearest hold-out patient", "twin", "p", "people", "nearest film itself", "guess"), 4, demographic,
    ),
    "attacks": Table(
        (*WHICH, "method", "linkage AUC", "linkage p", "re-identified", "nearest is a member (chance)",
         "likely samples", "SSIM, training / hold-out", "NN, training / hold-out", "CPU s"), 3, attacks,
    ),
    "agreement": Table(
        ("network", "agreement of two seeds (least to most)", "of un-tuned samples", "pairs flagged",
         "with films: linkage AUC", "linkage p", "re-identified"), 1, agreements,
    ),
}  # fmt: skip
"""The tables by the names of their places on the page."""
