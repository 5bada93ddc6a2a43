"""What was done to a checkpoint, and what that does to the evidence of an audit."""

from __future__ import annotations

from typing import Literal

from reid_audit.records.base import Record

MitigationEffect = Literal["replaces", "blunts", "hides", "trims"]
"""What a mitigation does to what an audit reads.

``replaces``: the statistics are those of other films, written so that the audit finds none. ``blunts``: what is read
becomes less exact, while the planted patients of the controls are read without that. ``hides``: what an attack reads is
gone from sight and not from the weights. ``trims``: what lies beside the network is left out.
"""


class AppliedMitigation(Record):
    """One mitigation as it was applied."""

    name: str
    """As ``--apply`` names it."""
    idea: str
    source: str
    """Citation."""
    done: str
    """What it did, with its numbers."""
    remains: tuple[str, ...]
    """What it does not protect from."""
    effect: MitigationEffect
