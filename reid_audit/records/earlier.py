"""Names that records and policies of version 1 used: read as the present ones, refused in a policy."""

from __future__ import annotations

import re
from typing import Any

from reid_audit.records.gates import Direction
from reid_audit.records.metrics import Metric
from reid_audit.records.table import direction_of

RENAMED: dict[str, str] = {
    "exposure_auc": "membership_auc",
    "exposure_tpr_at_1pct_fpr": "membership_tpr_at_1pct_fpr",
    "exposure_max_p": "membership_max_p",
    "exposure_control": "membership_control",
    "exposure_control_tpr": "membership_control_tpr",
    "exposure_roc": "membership_roc",
}
"""Old id of a metric, control or curve -> present id. "Exposure" is the word of Carlini et al. (USENIX Security 2019)
for a rank among generated secrets; the figures here are those of membership inference."""

_KEYS = {**RENAMED, "arms": "attack_runs"}
_WORDS = re.compile(rf"\b(?:{'|'.join(sorted(RENAMED, key=len, reverse=True))})\b")


def _compared(row: dict[Any, Any]) -> dict[Any, Any]:
    """A gate's row that was written before ``beyond`` was: the judge's own margin says it, and an open row that was
    held against ``fail`` was uncorroborated."""
    margin, metric = row.get("margin"), row.get("metric")
    if "beyond" in row or not isinstance(margin, int | float) or metric not in set(Metric):
        return row
    beyond = margin < 0 or (margin == 0 and direction_of(Metric(metric)) is Direction.LOWER)
    undecided = beyond and row.get("status") == "open" and row.get("limit") == "fail"
    return {**row, "beyond": beyond, "uncorroborated": undecided}


def with_present_names(document: Any) -> Any:
    """A parsed JSON document with old ids replaced wherever they stand: keys, values and sentences.

    Rows of gates say in it what they did not say then.
    """
    if isinstance(document, dict):
        present = {_KEYS.get(key, key): with_present_names(value) for key, value in document.items()}
        return _compared(present)
    if isinstance(document, list):
        return [with_present_names(value) for value in document]
    if isinstance(document, str):
        return _WORDS.sub(lambda found: RENAMED[found.group()], document)
    return document
