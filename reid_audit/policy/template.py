"""A commented reid-audit.toml that means exactly the defaults."""

from __future__ import annotations

from reid_audit.records import Gate, Policy, References

PREPROCESS_LINES = (
    "# Declare the training preprocessing exactly: wrong values hide leaks. What this table leaves out is fitted to",
    "# the first statistics layers of the network.",
    "# [preprocess]",
    "# side = 224",
    "# keep = [0, 0.1, 1, 0.9]     # left, top, right, bottom of the part of the film that is kept, as shares",
    '# resize = "shorter"          # squash | shorter | longer | none',
    '# crop = "center"             # center | none',
    '# interpolation = "bilinear"  # nearest | bilinear | bicubic | lanczos | box',
    '# turn = "transpose"          # as MONAI hands pictures to training, in words of Pillow',
    '# per_film = "zscore"         # each film by itself to mean 0 and deviation 1, as nnU-Net does; else "none"',
    "# mean = [0.485, 0.456, 0.406]",
    "# std = [0.229, 0.224, 0.225]",
    "# invert = false",
    '# scaling = "bits"            # bits | window | minmax | { range = [0, 4095] } | { percentiles = [1, 99] }',
)
ENCODER_LINES = (
    "# A network that tells people apart by their films: a second scorer of linkage, which can only add evidence.",
    "# [encoder]",
    '# checkpoint = "reid.safetensors"',
    "# side = 224",
    '# values = "infer"            # infer | unit | half | imagenet | xrv',
)
REPORT_LINES = (
    "# What the reader of a report needs and an audit cannot know; published as written, nothing of it is checked.",
    "# [report]",
    '# model = "Chest triage 2"',
    '# weights = "triage.safetensors"',
    '# controller = "University hospital"',
    '# purpose = "published with the paper, for research"',
    '# training_data = "Chest 2019 to 2023"',
    '# holdout_data = "Chest 2024"',
    '# auditor = "A. Muster, privacy team"',
    '# sign_off = ["Data protection officer"]',
)


def policy_template() -> str:
    """A commented reid-audit.toml that means exactly the defaults."""
    policy = Policy()
    lines = [
        "# reid-audit.toml: what this release gate asks for. Every value below is the default.",
        "",
        f"version = {policy.version}",
        '# "calibrated" needs training and hold-out films; "checkpoint" accepts a screening without them.',
        f'evidence = "{policy.evidence}"',
        "# A pickle that names classes beyond the published list: warn (read inertly, reported) or refuse (exit 5).",
        f'pickled_code = "{policy.pickled_code}"',
        "# What reads age and sex: auto, shipped (the chest predictor, whatever the prior) or off.",
        f'demographics = "{policy.demographics}"',
        "# False-discovery rate of reidentified_patients.",
        f"level = {policy.level}",
        "# Attack seeds, and how many of them must share an outcome (not given: all).",
        f"repeats = {policy.repeats}",
        "# agreement = 2",
        "",
    ]
    for gate in policy.gates:
        lines += [f"[gates.{gate.metric.value}]", *_gate_lines(gate), ""]
    lines += ["# Controls a PASS needs, and what each has to reach.", "[controls]"]
    lines += [f"{key} = {as_toml(value)}" for key, value in policy.controls.model_dump().items()]
    lines += [
        "",
        *PREPROCESS_LINES,
        "",
        "[budget]",
        "# Seconds of the whole command; false: no ceiling, which makes a run reproducible.",
        f"seconds = {as_toml(policy.budget.seconds)}",
        "# Optimiser steps of one attack hypothesis.",
        f"steps = {policy.budget.steps}",
        "# How many training images the statistics may stand for (one hypothesis each).",
        f"particles = {as_toml(policy.budget.particles)}",
        "",
        "# Networks of the same kind whose training films are known: membership as the strongest attacks see it.",
        "[references]",
        *_reference_lines(policy.references),
        "",
        *ENCODER_LINES,
        "",
        *REPORT_LINES,
    ]
    return "\n".join(lines) + "\n"


def _reference_lines(references: References) -> list[str]:
    said = {
        "when": "required (no PASS without) | when-possible | off",
        "augmentation": "auto | none | moved",
        "optimiser": "adam | sgd",
    }
    lines = ["# rate = 0.001  # not given: 0.001, with self-attention 0.0003"]
    lines += ["# epochs = 40  # not given: 40, with self-attention 120"]
    for key, value in references.model_dump(exclude={"given"}, exclude_none=True).items():
        line = f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {as_toml(value)}"
        lines.append(f"{line}  # {said[key]}" if key in said else line)
    return [
        *lines,
        "# Networks that are there already, such as the folds of a cross-validation; with any, none is trained.",
        "# [[references.given]]",
        '# checkpoint = "fold_0.pt"',
        '# trained_on = "folds.csv?fold=1,2,3,4"  # or: splits = "splits_final.json", fold = 0',
    ]


def _gate_lines(gate: Gate) -> list[str]:
    lines = []
    if gate.fail is not None:
        lines.append(f"fail = {as_toml(gate.fail)}")
    if gate.clear is not None:
        lines.append(f"clear = {as_toml(gate.clear)}")
    if gate.basis != "value":
        lines.append(f'basis = "{gate.basis}"')
    if gate.corroborated_by:
        inner = ", ".join(f"{c.metric.value} = {as_toml(c.above)}" for c in gate.corroborated_by)
        lines.append(f"corroborated_by = {{ {inner} }}")
    return lines


def as_toml(value: object) -> str:
    """A value as the file writes it; ``None``, for which TOML has no word, as ``false``."""
    if value is None or isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(as_toml(v) for v in value) + "]"
    return repr(value)
