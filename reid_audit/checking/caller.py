"""Who asks for a check: a command, or a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reid_audit.observer import Observer

if TYPE_CHECKING:
    from reid_audit.audit.preflight import Preflight


def _nothing(*_: object) -> None:
    """Nothing is done."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who watches a check, since when its time counts, and what is done on its way."""

    observer: Observer
    began: float
    """Reading of ``time.monotonic`` from which on the budget counts."""
    note: Callable[[str], None] = _nothing
    """Called with each line on where the file came from, before it is read."""
    get_ready: Callable[[], None] = _nothing
    """Called once the file has passed, before libraries are loaded."""
    show: Callable[[Preflight], None] = _nothing
    """Called with the preflight, also where it is about to end the check."""
