"""JSON Schema of the public report: ``python -m reid_audit.report.schema > docs/report.schema.json``."""

from __future__ import annotations

import json
import sys

from reid_audit.report.wire import SCHEMA, PublicReport


def schema_text() -> str:
    """The schema as it is shipped in docs/report.schema.json."""
    body = PublicReport.model_json_schema(by_alias=True, mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA}
    return json.dumps({**head, **body}, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
