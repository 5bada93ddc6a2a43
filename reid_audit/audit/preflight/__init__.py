"""What cannot work is found before it costs anything: films, split, policy, network, disk, memory, time."""

from reid_audit.audit.preflight.look import Looked, look_ahead
from reid_audit.audit.preflight.planned import foreseen
from reid_audit.audit.preflight.record import CohortCount, Finding, Planned, Preflight

__all__ = ["CohortCount", "Finding", "Looked", "Planned", "Preflight", "foreseen", "look_ahead"]
