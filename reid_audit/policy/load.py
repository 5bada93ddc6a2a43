"""The policy that holds for a folder, with the file it came from and its digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from reid_audit.policy.parse import parse_policy
from reid_audit.policy.places import searched
from reid_audit.policy.tables import content_of, table_at, toml_of
from reid_audit.policy.template import policy_template
from reid_audit.records import Policy

POLICY_FILE, PROJECT_FILE = "reid-audit.toml", "pyproject.toml"
FILES = (POLICY_FILE, PROJECT_FILE)


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
        content = content_of(place)
        table = toml_of(content, place)
        if place.name == PROJECT_FILE:
            own = _pyproject_table(table)
            if own is None and path is None:
                continue  # a project that says nothing of this tool
            table = own or {}
        return parse_policy(table), place, hashlib.sha256(content).hexdigest()
    return Policy(), None, hashlib.sha256(policy_template().encode()).hexdigest()


def policy_sha256(policy: Policy) -> str:
    """SHA-256 of a policy that came from no file: of its JSON with sorted keys, no white space, gates by name."""
    values = policy.model_dump(mode="json")
    values["gates"] = sorted(values["gates"], key=lambda gate: str(gate["metric"]))
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _pyproject_table(table: dict[str, Any]) -> dict[str, Any] | None:
    tool = table.get("tool")
    if not isinstance(tool, dict) or "reid-audit" not in tool:
        return None
    return table_at(tool["reid-audit"], "tool.reid-audit")
