"""reid-audit.toml and reid-audit-waivers.toml: read, check, and write a commented template."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reid_audit.errors import PolicyError
from reid_audit.records import (
    Budget,
    Controls,
    Corroboration,
    EncoderPolicy,
    Gate,
    Metric,
    Policy,
    PreprocessSpec,
    References,
    ReportFields,
    Waiver,
    default_gates,
    unevaluable,
)
from reid_audit.records.earlier import RENAMED

POLICY_FILE, PROJECT_FILE = "reid-audit.toml", "pyproject.toml"
FILES = (POLICY_FILE, PROJECT_FILE)
WAIVER_FILE = "reid-audit-waivers.toml"
R = TypeVar("R", bound=BaseModel)
_TABLES = ("gates", "controls", "preprocess", "budget", "references", "encoder", "report")
_PLAIN = tuple(name for name in Policy.model_fields if name not in _TABLES)


def load_policy(path: Path | None, cwd: Path) -> tuple[Policy, Path | None, str]:
    """The policy, the file it came from (None: the defaults), and its SHA-256.

    Looks at ``path``, else in each folder of ``searched(cwd)`` at ``reid-audit.toml``, then at ``[tool.reid-audit]`` of
    ``pyproject.toml``. A gate named in the file replaces the default gate of that metric; ``fail = false`` removes a
    threshold. The digest is that of the file's bytes, which ``sha256sum`` gives too; without a file, of the file that
    ``policy init`` writes. Raises PolicyError on unreadable files, unknown keys and values out of range.
    """
    places = [path] if path is not None else [folder / name for folder in searched(cwd) for name in FILES]
    for place in places:
        if path is None and not place.is_file():
            continue
        content = _bytes(place)
        table = _toml_of(content, place)
        if place.name == PROJECT_FILE:
            own = _pyproject_table(table)
            if own is None and path is None:
                continue  # a project that says nothing of this tool
            table = own or {}
        return parse_policy(table), place, hashlib.sha256(content).hexdigest()
    return Policy(), None, hashlib.sha256(policy_template().encode()).hexdigest()


def searched(cwd: Path) -> tuple[Path, ...]:
    """The folders in which policy and waivers are looked for: ``cwd`` and those above it, nearest first.

    The last is the root of the repository (the first folder with a ``.git``). Outside a repository the search ends
    below the home folder, and outside that it does not leave ``cwd``: what lies in ``/tmp`` must not set the gate.
    """
    start = cwd.resolve()
    folders = (start, *start.parents)
    for number, folder in enumerate(folders):
        if (folder / ".git").exists():
            return folders[: number + 1]
    home = _home()
    below_home = folders[: folders.index(home)] if home in folders else ()
    return below_home or (start,)


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # an account without one
        return None


def policy_sha256(policy: Policy) -> str:
    """SHA-256 of a policy that came from no file: of its JSON with sorted keys, no white space, gates by name."""
    values = policy.model_dump(mode="json")
    values["gates"] = sorted(values["gates"], key=lambda gate: str(gate["metric"]))
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find_waivers(cwd: Path) -> Path | None:
    """The nearest ``reid-audit-waivers.toml`` in ``searched(cwd)``, or None."""
    return next((folder / WAIVER_FILE for folder in searched(cwd) if (folder / WAIVER_FILE).is_file()), None)


def load_waivers(path: Path | None, cwd: Path | None = None) -> tuple[Waiver, ...]:
    """Waivers of a file with ``[[waivers]]`` tables; without ``path``, of the nearest ``reid-audit-waivers.toml`` in
    ``searched(cwd)``.

    Raises PolicyError where a field is missing, unknown or malformed.
    """
    if path is None:
        path = find_waivers(cwd) if cwd is not None else None
        if path is None:
            return ()
    table = _toml_of(_bytes(path), path)
    _known(table, ("waivers",), "")
    entries = table.get("waivers", [])
    if not isinstance(entries, list):
        raise PolicyError("waivers is not a list", closest="[[waivers]]", remedy="write each waiver under [[waivers]]")
    waivers = []
    for index, entry in enumerate(entries):
        where = f"waivers[{index}]"
        _known(_table(entry, where), tuple(Waiver.model_fields), where)
        _present_name(str(entry.get("gate")), f"{where}.gate")
        waivers.append(_build(Waiver, entry, where))
    return tuple(waivers)


def parse_policy(table: dict[str, Any]) -> Policy:
    """A policy from parsed TOML; unknown keys raise PolicyError with the nearest known key."""
    _known(table, (*_PLAIN, *_TABLES), "")
    values: dict[str, Any] = {key: table[key] for key in _PLAIN if key in table}
    for name, kind in (
        ("controls", Controls),
        ("budget", Budget),
        ("references", References),
        ("encoder", EncoderPolicy),
        ("report", ReportFields),
    ):
        if name in table:
            inner = _table(table[name], name)
            _known(inner, tuple(kind.model_fields), name)
            values[name] = _build(kind, _no_ceiling(inner), name)
    if "preprocess" in table:
        inner = _table(table["preprocess"], "preprocess")
        _known(inner, tuple(PreprocessSpec.model_fields), "preprocess")
        values["preprocess"] = _preprocess(inner) if inner else {}
    if "gates" in table:
        values["gates"] = _gates(_table(table["gates"], "gates"))
    return _build(Policy, values, "the policy")


def _preprocess(table: dict[str, Any]) -> dict[str, Any]:
    """Without mean, std and invert only the geometry is declared: guessing "no normalisation" would be silent."""
    given = any(key in table for key in ("mean", "std", "invert"))
    return {
        "declared": _build(PreprocessSpec, table, "preprocess"),
        "values": "declared" if given else "inferred",
    }


PREPROCESS_LINES = (
    "# Declare the training preprocessing exactly: wrong values hide leaks. What this table leaves out is fitted to",
    "# the first statistics layers of the network.",
    "# [preprocess]",
    "# side = 224",
    "# keep = [0, 0.1, 1, 0.9]     # left, top, right, bottom of the part of the film that is kept, as shares",
    '# resize = "shorter"          # squash | shorter | longer | none',
    '# crop = "center"             # center | none',
    '# interpolation = "bilinear"  # nearest | bilinear | bicubic | lanczos | box',
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
    lines += [f"{key} = {_toml(value)}" for key, value in policy.controls.model_dump().items()]
    lines += [
        "",
        *PREPROCESS_LINES,
        "",
        "[budget]",
        "# Seconds of the whole command; false: no ceiling, which makes a run reproducible.",
        f"seconds = {_toml(policy.budget.seconds)}",
        "# Optimiser steps of one attack hypothesis.",
        f"steps = {policy.budget.steps}",
        "# How many training images the statistics may stand for (one hypothesis each).",
        f"particles = {_toml(policy.budget.particles)}",
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
    lines = []
    for key, value in references.model_dump(exclude={"given"}).items():
        line = f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {_toml(value)}"
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
        lines.append(f"fail = {_toml(gate.fail)}")
    if gate.clear is not None:
        lines.append(f"clear = {_toml(gate.clear)}")
    if gate.basis != "value":
        lines.append(f'basis = "{gate.basis}"')
    if gate.corroborated_by:
        inner = ", ".join(f"{c.metric.value} = {_toml(c.above)}" for c in gate.corroborated_by)
        lines.append(f"corroborated_by = {{ {inner} }}")
    return lines


def _toml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return repr(value)


def _pyproject_table(table: dict[str, Any]) -> dict[str, Any] | None:
    tool = table.get("tool")
    if not isinstance(tool, dict) or "reid-audit" not in tool:
        return None
    return _table(tool["reid-audit"], "tool.reid-audit")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"cannot read {path}: {error.strerror or error}",
            closest="reid-audit.toml in the working directory",
            remedy="check the path, or write one with 'reid-audit policy init'",
        ) from error


def _toml_of(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"{path} is not TOML: {error}", closest="TOML 1.0", remedy="compare with 'reid-audit policy init'"
        ) from error


def _gates(table: dict[str, Any]) -> tuple[Gate, ...]:
    _known(table, tuple(m.value for m in Metric), "gates")
    gates = {gate.metric: gate for gate in default_gates()}
    for name, entry in table.items():
        where = f"gates.{name}"
        inner = _table(entry, where)
        _known(inner, ("fail", "clear", "basis", "corroborated_by"), where)
        given: dict[str, Any] = {"metric": name, **inner}
        for key in ("fail", "clear"):
            if given.get(key) is False:
                given[key] = None
            elif given.get(key) is True:
                raise _refusal(f"{where}.{key} is true", "a number, or false for no threshold")
        pairs = _table(inner.get("corroborated_by", {}), f"{where}.corroborated_by")
        _known(pairs, tuple(m.value for m in Metric), f"{where}.corroborated_by")
        given["corroborated_by"] = tuple(
            _build(Corroboration, {"metric": metric, "above": above}, f"{where}.corroborated_by")
            for metric, above in pairs.items()
        )
        default = gates.get(Metric(name))
        if default is not None:
            kept = {key: value for key, value in default.model_dump().items() if key not in inner}
            given = {**given, **kept}
        gate = _build(Gate, given, where)
        if reason := unevaluable(gate):
            raise _refusal(f"{where} can never be evaluated: {reason}", f"docs/metrics/{name}.md says what it measures")
        gates[Metric(name)] = gate
    return tuple(gates.values())


def _no_ceiling(table: dict[str, Any]) -> dict[str, Any]:
    """``seconds = false`` says what TOML has no word for."""
    return {key: None if key == "seconds" and value is False else value for key, value in table.items()}


def _known(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            _present_name(key, where)
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            place = f" in {where}" if where else ""
            raise PolicyError(
                f"unknown key '{key}'{place}",
                closest=near[0] if near else ", ".join(known),
                remedy="correct the key; 'reid-audit policy init' writes every known one",
            )


def _present_name(key: str, where: str) -> None:
    """Refuse a key that version 1 knew, with the name it has now."""
    if key in RENAMED:
        present = RENAMED[key]
        raise PolicyError(
            f"'{key}'{f' in {where}' if where else ''} is now called '{present}'",
            closest=present,
            remedy=f"write {present}: the same figure, the same limits",
        )


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal(f"{where} is not a table", f"[{where}]")
    return value


def _refusal(what: str, closest: str) -> PolicyError:
    return PolicyError(what, closest=closest, remedy="compare with 'reid-audit policy init'")


def _build(kind: type[R], values: dict[str, Any], where: str) -> R:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise PolicyError(
            f"{where}{'.' + key if key else ''}: {first['msg']}",
            closest=f"given: {first.get('input')!r}",
            remedy="compare with 'reid-audit policy init'",
        ) from error
