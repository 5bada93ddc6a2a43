"""What an audit leaves in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.report import FORMATS
from reid_audit.runs import RESTRICTED, RESULT

if TYPE_CHECKING:
    from reid_audit.audit import AuditedFile


def deliver(audited: AuditedFile, folder: Path, formats: tuple[str, ...] = ()) -> None:
    """Write what is restricted (mode 0700): evidence of each network, then the result; then the public reports (none
    named: all), which can be written again from it."""
    from reid_audit.report import publish, write_reports
    from reid_audit.report.evidence_pages import write_evidence
    from reid_audit.store import write_private

    if audited.evidence is not None:
        write_evidence(audited.evidence, folder / RESTRICTED)
    for number, evidence in audited.further:
        write_evidence(evidence, folder / RESTRICTED / f"network_{number + 1}")
    write_private(folder / RESULT, audited.result.model_dump_json(indent=1))
    write_reports(publish(audited.result), folder, tuple(name for name in FORMATS if name in formats) or FORMATS)
