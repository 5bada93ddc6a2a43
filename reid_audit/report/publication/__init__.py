"""AuditResult -> PublicReport, field by field: what is not named here is not published."""

from reid_audit.report.publication.document import publish, with_name
from reid_audit.report.publication.evidence import ROC_GRID
from reid_audit.report.publication.texts import scrub

__all__ = ["ROC_GRID", "publish", "scrub", "with_name"]
