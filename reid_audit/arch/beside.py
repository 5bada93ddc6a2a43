"""The config.json that transformers writes beside its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST = 1_000_000
MARKS = ("architectures", "model_type")
"""A config.json without these is somebody else's."""


def config_beside(checkpoint: Path) -> dict[str, Any]:
    """Settings in a transformers config.json in the checkpoint's folder (up to 1 MB); empty where there is none.

    Only numbers and the activation's name are ever used; nothing in the file can name code.
    """
    path = checkpoint.parent / "config.json"
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and any(mark in found for mark in MARKS) else {}
