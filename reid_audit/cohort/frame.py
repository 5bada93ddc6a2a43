"""How films have to be delivered."""

from __future__ import annotations

from dataclasses import dataclass, field

from reid_audit.budget import Meter
from reid_audit.observer import Observer, SilentObserver
from reid_audit.records import PreprocessSpec


@dataclass(frozen=True, slots=True)
class Frame:
    """How films have to be delivered: preprocessing of the network, pixels of a side, channels."""

    spec: PreprocessSpec
    side: int
    """Pixels of the square images that are made of the films."""
    channels: int = 1
    """1 (grey) or 3."""
    observer: Observer = field(default_factory=SilentObserver)
    """Told of every film that is read."""
    meter: Meter | None = field(default=None, repr=False, compare=False)
    """How long reading may take. Patients that it does not reach, chosen by chance and not by what is known of them,
    are left out and counted as ``unread``. None: all are read."""
