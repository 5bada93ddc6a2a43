"""``report.json``: the wire document itself, fields in the order of ``wire.PublicReport``."""

from __future__ import annotations

import json

from reid_audit.records.earlier import with_present_names
from reid_audit.report.wire import SCHEMA, SCHEMA_1, PublicReport, Wire


def dumps(document: Wire) -> str:
    """Two-space indented JSON ending in a newline; the same document gives the same bytes."""
    return json.dumps(document.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False) + "\n"


def loads(text: str) -> PublicReport:
    """Read ``report.json`` of this schema or of version 1; old ids are replaced by the present ones, and what rows of
    gates did not say at first is added.

    Raises ValueError where it is neither.
    """
    document = json.loads(text)
    if isinstance(document, dict) and document.get("schema") in (SCHEMA, SCHEMA_1):
        document = {**with_present_names(document), "schema": SCHEMA}
    return PublicReport.model_validate_json(json.dumps(document))
