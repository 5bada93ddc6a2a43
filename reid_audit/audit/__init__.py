"""The one place that knows the order of the stages."""

from reid_audit.audit.power_control import ControlCache
from reid_audit.audit.request import AuditRequest, Films, Frame, PriorFilms
from reid_audit.audit.run import Audited, run_audit

__all__ = ["AuditRequest", "Audited", "ControlCache", "Films", "Frame", "PriorFilms", "run_audit"]
