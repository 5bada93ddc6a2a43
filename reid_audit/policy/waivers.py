"""Waivers: where their file lies, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid_audit.errors import PolicyError
from reid_audit.policy.places import searched
from reid_audit.policy.tables import build, content_of, known_keys, refuse_earlier, table_at, toml_of
from reid_audit.records import Waiver

WAIVER_FILE = "reid-audit-waivers.toml"
SHAPE = f"write each waiver under [[waivers]] with {', '.join(Waiver.model_fields)} (docs/policy.md)"


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
    content = content_of(path)
    with _shape_named():
        entries = _entries(toml_of(content, path))
    for where, entry in entries.items():
        refuse_earlier(str(entry.get("gate")), f"{where}.gate")
    with _shape_named():
        return tuple(build(Waiver, entry, where) for where, entry in entries.items())


@contextmanager
def _shape_named() -> Iterator[None]:
    """A refusal in the body says how a waiver is written: no command writes one."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(error.what, closest=error.closest, remedy=SHAPE) from error


def _entries(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Where each waiver stands, and what it says."""
    known_keys(table, ("waivers",), "")
    listed = table.get("waivers", [])
    if not isinstance(listed, list):
        raise PolicyError("waivers is not a list", closest="[[waivers]]", remedy=SHAPE)
    entries = {f"waivers[{index}]": entry for index, entry in enumerate(listed)}
    for where, entry in entries.items():
        known_keys(table_at(entry, where), tuple(Waiver.model_fields), where)
    return entries
