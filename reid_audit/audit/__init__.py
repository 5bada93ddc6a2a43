"""The one place that knows the order of the stages."""

from reid_audit.audit.environment import Environment
from reid_audit.audit.file import AuditedFile, audit_file
from reid_audit.audit.power_control import ControlCache
from reid_audit.audit.request import AuditRequest, Films, PriorFilms
from reid_audit.audit.run import Audited, run_audit

__all__ = [
    "AuditRequest",
    "Audited",
    "AuditedFile",
    "ControlCache",
    "Environment",
    "Films",
    "PriorFilms",
    "audit_file",
    "run_audit",
]
