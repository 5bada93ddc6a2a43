"""Which of several verdicts decides, worst first, and with which exit code: networks of a file, a sweep, the action.

Standard library only: action/judge.py runs this file by its path, without the package.
"""

from __future__ import annotations

from collections.abc import Iterable

CODES = {"not_audited": 3, "refused": 3, "fail": 1, "inconclusive": 4, "pass": 0}
"""Outcome -> exit code of several audits that it decides, the worst outcome first. Where nothing is known of one of
them, nothing is known of all: that comes before a FAIL, which is named all the same wherever several are listed."""
WORST_FIRST = tuple(CODES)
OF_VERDICTS = (CODES["fail"], CODES["inconclusive"], CODES["pass"])
"""Exit codes that stand for a verdict."""
FORGIVEN: dict[str, tuple[str, ...]] = {
    "inconclusive": (),
    "fail": ("inconclusive",),
    "never": ("fail", "inconclusive"),
}
"""``--fail-on`` -> outcomes whose exit code becomes 0; nothing else ever does."""


def worst(outcomes: Iterable[str]) -> str:
    """The outcome that decides; ``not_audited`` where there is none, or one that nobody knows."""
    found = [outcome if outcome in CODES else WORST_FIRST[0] for outcome in outcomes]
    return min(found, key=WORST_FIRST.index, default=WORST_FIRST[0])


def code_of(outcomes: Iterable[str], fail_on: str) -> int:
    """The exit code of several audits after ``fail_on``."""
    decided = worst(outcomes)
    return 0 if decided in FORGIVEN[fail_on] else CODES[decided]
