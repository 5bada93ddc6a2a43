"""Identification: which network a state_dict is, and a module that runs it."""

from reid_audit.arch.identify import identify, match
from reid_audit.arch.target import Target

__all__ = ["Target", "identify", "match"]
