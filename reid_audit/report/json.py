"""``report.json``: the wire document itself, fields in the order of ``wire.PublicReport``."""

from __future__ import annotations

import json

from reid_audit.report.wire import PublicReport


def dumps(report: PublicReport) -> str:
    """Two-space indented JSON ending in a newline; the same report gives the same bytes."""
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False) + "\n"


def loads(text: str) -> PublicReport:
    """Read ``report.json``; raises pydantic.ValidationError where it is not one of this schema."""
    return PublicReport.model_validate_json(text)
