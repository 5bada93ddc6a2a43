"""Finished cells in a file of their own, one JSON line each, so that a run can be stopped and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reid_audit.records import Measured, Measurement, Metric, find


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Finished cells; a line cut short by a kill is ignored."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def budget_of(steps: int, particles: list[int]) -> str:
    """How a cell's budget is written, and told from another's."""
    return f"{steps} x {' + '.join(str(count) for count in particles)}"


def measured(measurements: tuple[Measurement, ...], metric: Metric) -> Measured:
    """The number of ``metric``. Raises ValueError where there is none."""
    found = find(measurements, metric)
    if not isinstance(found, Measured):
        raise ValueError(f"{metric.value}: {found.reason.value}")
    return found
