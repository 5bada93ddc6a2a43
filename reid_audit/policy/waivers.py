"""Waivers: where their file lies, and what it says."""

from __future__ import annotations

from pathlib import Path

from reid_audit.errors import PolicyError
from reid_audit.policy.places import searched
from reid_audit.policy.tables import build, content_of, known_keys, refuse_earlier, table_at, toml_of
from reid_audit.records import Waiver

WAIVER_FILE = "reid-audit-waivers.toml"


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
    table = toml_of(content_of(path), path)
    known_keys(table, ("waivers",), "")
    entries = table.get("waivers", [])
    if not isinstance(entries, list):
        raise PolicyError("waivers is not a list", closest="[[waivers]]", remedy="write each waiver under [[waivers]]")
    waivers = []
    for index, entry in enumerate(entries):
        where = f"waivers[{index}]"
        known_keys(table_at(entry, where), tuple(Waiver.model_fields), where)
        refuse_earlier(str(entry.get("gate")), f"{where}.gate")
        waivers.append(build(Waiver, entry, where))
    return tuple(waivers)
