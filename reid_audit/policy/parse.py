"""A policy from the tables of its file."""

from __future__ import annotations

from typing import Any

from reid_audit.policy.tables import build, known_keys, malformed, table_at
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
    default_gates,
    unevaluable,
)

_TABLES = ("gates", "controls", "preprocess", "budget", "references", "encoder", "report")
_PLAIN = tuple(name for name in Policy.model_fields if name not in _TABLES)


def parse_policy(table: dict[str, Any]) -> Policy:
    """A policy from parsed TOML; unknown keys raise PolicyError with the nearest known key."""
    known_keys(table, (*_PLAIN, *_TABLES), "")
    values: dict[str, Any] = {key: table[key] for key in _PLAIN if key in table}
    for name, kind in (
        ("controls", Controls),
        ("budget", Budget),
        ("references", References),
        ("encoder", EncoderPolicy),
        ("report", ReportFields),
    ):
        if name in table:
            inner = table_at(table[name], name)
            known_keys(inner, tuple(kind.model_fields), name)
            values[name] = build(kind, _no_ceiling(inner), name)
    if "preprocess" in table:
        inner = table_at(table["preprocess"], "preprocess")
        known_keys(inner, tuple(PreprocessSpec.model_fields), "preprocess")
        values["preprocess"] = _preprocess(inner) if inner else {}
    if "gates" in table:
        values["gates"] = _gates(table_at(table["gates"], "gates"))
    return build(Policy, values, "the policy")


def _preprocess(table: dict[str, Any]) -> dict[str, Any]:
    """Without mean, std and invert only the geometry is declared: guessing "no normalisation" would be silent."""
    given = any(key in table for key in ("mean", "std", "invert"))
    return {
        "declared": build(PreprocessSpec, table, "preprocess"),
        "values": "declared" if given else "inferred",
    }


def _gates(table: dict[str, Any]) -> tuple[Gate, ...]:
    known_keys(table, tuple(m.value for m in Metric), "gates")
    gates = {gate.metric: gate for gate in default_gates()}
    for name, entry in table.items():
        where = f"gates.{name}"
        inner = table_at(entry, where)
        known_keys(inner, ("fail", "clear", "basis", "corroborated_by"), where)
        given: dict[str, Any] = {"metric": name, **inner}
        for key in ("fail", "clear"):
            if given.get(key) is False:
                given[key] = None
            elif given.get(key) is True:
                raise malformed(f"{where}.{key} is true", "a number, or false for no threshold")
        pairs = table_at(inner.get("corroborated_by", {}), f"{where}.corroborated_by")
        known_keys(pairs, tuple(m.value for m in Metric), f"{where}.corroborated_by")
        given["corroborated_by"] = tuple(
            build(Corroboration, {"metric": metric, "above": above}, f"{where}.corroborated_by")
            for metric, above in pairs.items()
        )
        default = gates.get(Metric(name))
        if default is not None:
            kept = {key: value for key, value in default.model_dump().items() if key not in inner}
            given = {**given, **kept}
        gate = build(Gate, given, where)
        if reason := unevaluable(gate):
            raise malformed(
                f"{where} can never be evaluated: {reason}", f"docs/metrics/{name}.md says what it measures"
            )
        gates[Metric(name)] = gate
    return tuple(gates.values())


def _no_ceiling(table: dict[str, Any]) -> dict[str, Any]:
    """``seconds = false`` says what TOML has no word for."""
    return {key: None if key == "seconds" and value is False else value for key, value in table.items()}
