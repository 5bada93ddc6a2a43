"""Measurements and policy to a verdict; pure: no tensors, no clock, no files."""

from reid_audit.judge.again import doubt_gaps, judge_again, with_gaps
from reid_audit.judge.agreement import agreed
from reid_audit.judge.verdict import CORE, Overlap, exceeds_fail, judge

__all__ = ["CORE", "Overlap", "agreed", "doubt_gaps", "exceeds_fail", "judge", "judge_again", "with_gaps"]
