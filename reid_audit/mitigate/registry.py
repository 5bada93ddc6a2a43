"""The registry of mitigations, one line each. A file is imported when it is first asked for: naming needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reid_audit.mitigate.interface import Mitigation


@dataclass(frozen=True, slots=True)
class Entry:
    """A mitigation by the name the command line knows it under."""

    name: str
    place: str
    """Module of this package that holds its ``MITIGATION``."""

    def load(self) -> Mitigation:
        """The mitigation itself."""
        found: Mitigation = import_module(f"{__package__}.{self.place}").MITIGATION
        return found


_ENTRIES = (
    Entry("recompute-bn", "recompute_batchnorm"),
    Entry("fold-bn", "fold_batchnorm"),
    Entry("noise-bn", "noise_statistics"),
    Entry("round", "rounding"),
    Entry("fp16", "half_precision"),
    Entry("int8", "eight_bits"),
    Entry("drop-states", "drop_states"),
    Entry("drop-head", "drop_head"),
    Entry("fine-tune", "fine_tune"),
    Entry("distil", "distil"),
)
MITIGATIONS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
