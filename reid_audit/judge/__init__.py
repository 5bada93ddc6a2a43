"""The decision: from measurements and a policy to a verdict, without tensors, clock or files."""

from reid_audit.judge.again import judge_again, with_rows
from reid_audit.judge.agreement import agreed, judge_seeds
from reid_audit.judge.bounds import exceeds_fail
from reid_audit.judge.case import Case
from reid_audit.judge.mitigated import held
from reid_audit.judge.union import judged_each, united
from reid_audit.judge.verdict import CORE, judge

__all__ = [
    "CORE",
    "Case",
    "agreed",
    "exceeds_fail",
    "held",
    "judge",
    "judge_again",
    "judge_seeds",
    "judged_each",
    "united",
    "with_rows",
]
