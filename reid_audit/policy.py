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
    Gate,
    Metric,
    Policy,
    PreprocessSpec,
    Waiver,
    default_gates,
)
from reid_audit.records.earlier import RENAMED

POLICY_FILE = "reid-audit.toml"
WAIVER_FILE = "reid-audit-waivers.toml"
R = TypeVar("R", bound=BaseModel)
_TABLES = ("gates", "controls", "preprocess", "budget")
_PLAIN = tuple(name for name in Policy.model_fields if name not in _TABLES)


def load_policy(path: Path | None, cwd: Path) -> tuple[Policy, Path | None, str]:
    """The policy, the file it came from (None: the defaults), and the SHA-256 of its canonical form.

    Looks at ``path``, else at ``reid-audit.toml``, else at ``[tool.reid-audit]`` of ``pyproject.toml`` in ``cwd``.
    A gate named in the file replaces the default gate of that metric; ``fail = false`` removes a threshold.
    Raises PolicyError on unreadable files, unknown keys and values out of range.
    """
    source, table = _find(path, cwd)
    policy = parse_policy(table) if table is not None else Policy()
    return policy, source, policy_sha256(policy)


def policy_sha256(policy: Policy) -> str:
    """SHA-256 of the policy's canonical JSON: sorted keys, no white space, defaults written out, gates by name."""
    values = policy.model_dump(mode="json")
    values["gates"] = sorted(values["gates"], key=lambda gate: str(gate["metric"]))
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_waivers(path: Path | None, cwd: Path | None = None) -> tuple[Waiver, ...]:
    """Waivers of a file with ``[[waivers]]`` tables; without ``path``, of ``reid-audit-waivers.toml`` in ``cwd``.

    Raises PolicyError where a field is missing, unknown or malformed.
    """
    if path is None:
        path = None if cwd is None else cwd / WAIVER_FILE
        if path is None or not path.is_file():
            return ()
    table = _read(path)
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
    for name, kind in (("controls", Controls), ("budget", Budget)):
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


def policy_template() -> str:
    """A commented reid-audit.toml that means exactly the defaults."""
    policy = Policy()
    lines = [
        "# reid-audit.toml: what this release gate asks for. Every value below is the default.",
        "",
        f"version = {policy.version}",
        '# "calibrated" needs training and hold-out films; "checkpoint" accepts a screening without them.',
        f'evidence = "{policy.evidence}"',
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
        "# Declare the training preprocessing exactly: wrong values hide leaks. Without this table, or without mean,",
        "# std and invert in it, known conventions are tried against the first layers.",
        "# [preprocess]",
        "# side = 224",
        '# resize = "shorter"          # squash | shorter | none',
        '# crop = "center"             # center | none',
        '# interpolation = "bilinear"  # nearest | bilinear | bicubic | lanczos | box',
        "# mean = [0.485, 0.456, 0.406]",
        "# std = [0.229, 0.224, 0.225]",
        "# invert = false",
        '# scaling = "bits"            # bits | window | minmax | { range = [0, 4095] } | { percentiles = [1, 99] }',
        "",
        "[budget]",
        "# Seconds of the whole command; false: no ceiling, which makes a run reproducible.",
        f"seconds = {_toml(policy.budget.seconds)}",
        "# Optimiser steps of one attack hypothesis.",
        f"steps = {policy.budget.steps}",
        "# How many training images the statistics may stand for (one hypothesis each).",
        f"particles = {_toml(policy.budget.particles)}",
    ]
    return "\n".join(lines) + "\n"


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


def _find(path: Path | None, cwd: Path) -> tuple[Path | None, dict[str, Any] | None]:
    if path is not None:
        table = _read(path)
        if path.name == "pyproject.toml":
            table = _pyproject_table(table) or {}
        return path, table
    own = cwd / POLICY_FILE
    if own.is_file():
        return own, _read(own)
    project = cwd / "pyproject.toml"
    if project.is_file() and (table_or_none := _pyproject_table(_read(project))) is not None:
        return project, table_or_none
    return None, None


def _pyproject_table(table: dict[str, Any]) -> dict[str, Any] | None:
    tool = table.get("tool")
    if not isinstance(tool, dict) or "reid-audit" not in tool:
        return None
    return _table(tool["reid-audit"], "tool.reid-audit")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise PolicyError(
            f"cannot read {path}: {error.strerror or error}",
            closest="reid-audit.toml in the working directory",
            remedy="check the path, or write one with 'reid-audit policy init'",
        ) from error
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
        gates[Metric(name)] = _build(Gate, given, where)
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
