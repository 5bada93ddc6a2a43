"""The tables of docs/policy.md from the types: ``python tests/policy_page.py`` rewrites them."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from reid_audit.policy.template import as_toml
from reid_audit.records import (
    Budget,
    Controls,
    EncoderPolicy,
    Gate,
    GivenReference,
    Policy,
    PreprocessSpec,
    References,
    ReportFields,
    Scaling,
    Waiver,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
TABLES: dict[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "policy": (Policy, ("gates", "controls", "preprocess", "budget", "references", "encoder", "report")),
    "gates": (Gate, ("metric",)),
    "controls": (Controls, ()),
    "preprocess": (PreprocessSpec, ()),
    "budget": (Budget, ()),
    "references": (References, ("given",)),
    "references.given": (GivenReference, ()),
    "encoder": (EncoderPolicy, ()),
    "report": (ReportFields, ()),
    "waivers": (Waiver, ()),
}
"""Table name -> record, and the fields that are tables of their own or the table's name."""
SWITCHED_OFF = ("fail", "clear", "seconds")
"""Keys whose absence a file may write as ``false``."""
MEANING: dict[str, str] = {
    "policy.version": "of this format",
    "policy.evidence": "`checkpoint` accepts a screening without films; the report is then headed so",
    "policy.pickled_code": "a pickle that names classes beyond the [published list](checkpoints.md#names-in-a-pickle): "
    "`warn` reads its tensors, imports nothing and reports the names; `refuse` ends with exit 5",
    "policy.level": "false-discovery rate of `reidentified_patients`",
    "policy.repeats": "attack seeds; the linkage tests are repeated with each",
    "policy.agreement": "how many repeats must share an outcome, more than half; else INCONCLUSIVE. Not given: all",
    "policy.head": "what the outputs are: exclusive classes, independent yes/no answers, or numbers. Not given: "
    "`sigmoid` for one output, for more `softmax`, or `sigmoid` where the answers fall together",
    "policy.demographics": "what reads age and sex: the prior's labelled films, or the shipped predictor beside the "
    "shipped chest prior; the shipped one whatever the prior; nothing. A file given with `--demographics` comes first",
    "gates.fail": "breached beyond this value; the confidence bound that favours the model counts. "
    "`false`: never fails a model",
    "gates.clear": "supports a PASS only up to this value (above it for p-values); the other confidence bound counts. "
    "`false`: not needed for a PASS",
    "gates.basis": "`excess`: over the control",
    "gates.corroborated_by": "a breach counts only if one of these metrics exceeds the value given",
    "controls.attack_power": "the attack must find canaries",
    "controls.attack_power_p": "with at most this p",
    "controls.scorer_sensitivity": "the scorer must find degraded films",
    "controls.scorer_sensitivity_low": "lower end of the share found, at least",
    "controls.membership_control": "the membership score must find the canaries",
    "controls.membership_control_tpr": "share found at 1 % false alarms, at least",
    "controls.preprocess_fit": "no other preprocessing may explain the network's first statistics clearly better",
    "controls.preprocess_fit_excess": "how much better, as a multiple of what is allowed, at most",
    "controls.negative_control": "the attack without target information must not be flagged",
    "controls.negative_control_p": "its p must be above this",
    "controls.exchangeability": "training and hold-out films must not differ in kind",
    "controls.exchangeability_p": "the p of the two-sample test must be above this",
    "controls.prior_disjoint": "the prior must have seen neither cohort",
    "controls.canaries": "hold-out patients the power control memorises; they leave the hold-out for every test",
    "preprocess.side": "pixels of the square network input; not given: inferred",
    "preprocess.keep": "the part of the film that is kept before resizing: left, top, right, bottom as shares of its "
    "width and height; not given: all of it",
    "preprocess.resize": "`squash` to the square, `shorter` or `longer` edge to it, or `none`",
    "preprocess.crop": "the middle after resizing, filled up with black where the picture is smaller",
    "preprocess.resize_to": "pixels that `resize` resizes to before the crop, as 256 before 224; not given: `side`",
    "preprocess.interpolation": "of the resizing",
    "preprocess.turn": "how the network saw films that are upright here, in Pillow's words, such as `transpose` "
    "(MONAI's readers swap rows and columns) or `rotate_90` (counter-clockwise); not given: inferred",
    "preprocess.per_film": "`zscore`: every film's own mean becomes 0 and its own deviation 1 after resizing "
    "(nnU-Net, MONAI's `NormalizeIntensity`); not given: inferred, and `none` beside `mean`, `std` or `invert`",
    "preprocess.mean": "subtracted after scaling to [0, 1]; one value, or one per channel",
    "preprocess.std": "divided by",
    "preprocess.invert": "`true` where the network saw 1 - x (MONOCHROME1)",
    "preprocess.scaling": 'how stored grey values become 0 to 1, see [films.md](films.md); not given: `"bits"`',
    "budget.seconds": "ceiling of the whole command; `false`: steps decide, and the run is reproducible",
    "budget.steps": "optimiser steps of one attack hypothesis",
    "budget.particles": "how many training films the statistics may stand for, one hypothesis each",
    "references.when": "`required`: a PASS needs them; `when-possible`: as many as there is time for; `off`: none",
    "references.count": "reference models; each learns a random part of the pooled patients, at most half of them",
    "references.optimiser": "how they are trained",
    "references.rate": "learning rate. Not given: 0.001, with self-attention 0.0003",
    "references.decay": "weight decay",
    "references.batch": "films of a training step",
    "references.augmentation": "`moved`: shifts, rotations, zooms, flips, brightness and contrast; `auto`: as the "
    "network seems to have been trained",
    "references.epochs": "at most; training ends where a reference is as sure of the pooled films as the network is. "
    "Not given: 40, with self-attention 120",
    "references.stands_in": "on a network without BatchNorm, membership with references, its control met, stands "
    "in for `attack_power` where the generalisation gap is known and small",
    "references.given.checkpoint": "weights of the audited architecture",
    "references.given.trained_on": "who was in its training: a CSV with filter, such as `folds.csv?fold=1,2,3,4`",
    "references.given.splits": "the same from nnU-Net's `splits_final.json`, whose cases are named as the patients are",
    "references.given.fold": "its place there, from 0",
    "encoder.checkpoint": "weights of a network that tells people apart by their films; `--encoder` comes first",
    "encoder.side": "pixels of its square input; not given: as the weights or the architecture say",
    "encoder.values": "grey values it was trained on; `infer`: what its first statistics say of the prior's images",
    "report.model": "name of the model",
    "report.weights": "name of the file with the weights, or its path in the repository that publishes it: where "
    "`report.sarif` has its findings",
    "report.controller": "the organisation that answers for the release",
    "report.purpose": "what the release is for, and who receives the weights",
    "report.training_data": "name of the data set of `--reference`",
    "report.holdout_data": "name of the data set of `--holdout`",
    "report.auditor": "who ran the audit",
    "report.sign_off": "roles that sign the data-protection edition, beside the auditor",
    "waivers.gate": "metric id",
    "waivers.checkpoint_sha256": "64 hex digits: a waiver is for one file",
    "waivers.reason": "at least 10 characters; published",
    "waivers.approved_by": "published",
    "waivers.expires": "last day on which it counts",
}


def table(name: str) -> str:
    """One Markdown table; KeyError where a key has no meaning written down."""
    kind, skipped = TABLES[name]
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in kind.model_fields.items():
        if key in skipped:
            continue
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        default = f"`{'{}' if value == () else _default(value)}`"
        if value is None and key not in SWITCHED_OFF:
            default = "required" if field.is_required() else "none"
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        rows.append(f"| `{key}` | {kind_of(key, annotation)} | {default} | {MEANING[f'{name}.{key}']} |")
    return "\n".join(rows)


def _default(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else as_toml(value)


def kind_of(key: str, annotation: Any) -> str:
    """A field's type in the words of a TOML file."""
    if get_origin(annotation) is Annotated:
        inner = kind_of(key, get_args(annotation)[0])
        return "number, 0 to 1" if inner == "number" and not _takes(annotation, 2.0) else inner
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = (kind_of(key, a) for a in get_args(annotation) if a is not type(None))
        return f"{inner} or `false`" if key in SWITCHED_OFF else inner
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{_default(a)}`" for a in get_args(annotation))
    if get_origin(annotation) is tuple:
        each = f"list of {kind_of(key, get_args(annotation)[0])}s"
        return "table of metric = number" if key == "corroborated_by" else each
    if annotation is Scaling:
        return '`"bits"`, `"window"`, `"minmax"`, `{ range = [low, high] }`, `{ percentiles = [low, high] }`'
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "text"}
    return names.get(annotation, getattr(annotation, "__name__", "").lower())


def _takes(annotation: Any, value: float) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValueError:
        return False
    return True


def page(text: str) -> str:
    """``text`` of the page with every marked table made anew."""
    for name in TABLES:
        block = re.compile(rf"<!-- table: {name} -->\n.*?<!-- end -->", re.DOTALL)
        if len(block.findall(text)) != 1:
            raise ValueError(f"docs/policy.md has not one table {name}")
        made = f"<!-- table: {name} -->\n{table(name)}\n<!-- end -->"
        text = made.join(block.split(text))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
