"""Measurements and policy to a verdict; pure: no tensors, no clock, no files."""

from reid_audit.judge.again import judge_again
from reid_audit.judge.agreement import agreed
from reid_audit.judge.verdict import CORE, Overlap, exceeds_fail, judge

__all__ = ["CORE", "Overlap", "agreed", "exceeds_fail", "judge", "judge_again"]
