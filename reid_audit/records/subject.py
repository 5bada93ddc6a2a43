"""What was audited: the file without its tensors, and the network it holds."""

from __future__ import annotations

from typing import Literal

from reid_audit.records.base import Record, Sha256


class CheckpointSummary(Record):
    """The file, without its tensors."""

    sha256: Sha256
    format: str
    """safetensors, torch-zip, torch-legacy"""
    bytes: int
    tensors: int
    parameters: int
    """Floating-point values in the model's own entries, buffers excluded."""
    dtypes: tuple[tuple[str, int], ...] = ()
    """(dtype, number of tensors), most frequent first."""
    wrapper: str = ""
    """Where the state_dict was found inside the file, for example ``state_dict`` or ``ema``; empty: at the top."""
    findings: tuple[str, ...] = ()
    """Things that leak beside the weights (optimiser state, EMA copies, names, paths), in fixed wordings."""
    others: tuple[str, ...] = ()
    """Where else in the file tensors are that are shaped like a network."""
    beside: tuple[str, ...] = ()
    """Floating-point tensors in none of them, by name; names that do not look like code are hidden."""
    apart: tuple[str, ...] = ()
    """Those of them with rows and columns, as weights have: they can belong to a network of the file."""
    pickled_code: tuple[str, ...] = ()
    """Classes and functions the pickle names beyond the published list; none was imported or called."""


class Candidate(Record):
    """One architecture and how well it explains the keys."""

    name: str
    library: str
    coverage: float
    """Share of the state_dict's keys explained with matching shapes, 0 to 1."""


class ArchMatch(Record):
    """Which network this is, with the evidence."""

    name: str
    library: str
    family: str
    coverage: float
    by: Literal["keys", "option", "factory"] = "keys"
    """How it was found: from keys and shapes, by --arch, by --arch-factory."""
    candidates: tuple[Candidate, ...] = ()
    """Runners-up, best first; those with equal coverage are the same by shape."""
    missing_keys: int = 0
    unexpected_keys: int = 0
    normalisation: tuple[tuple[str, int], ...] = ()
    """(layer type, count), for example (("BatchNorm2d", 20),)."""
    data_statistics: int = 0
    """Stored running statistics of the training data (2 x channels over all BatchNorm layers)."""
    untouched_statistics: int = 0
    """The same of layers that no training step has updated (means 0, variances 1): they say nothing of any image."""
    statistics: Literal["stored", "none", "missing"] = "none"
    """Whether running statistics are in the file; missing: its layers may be BatchNorm saved without them."""
    unused: tuple[str, ...] = ()
    """The file's keys of floating-point entries that the network does not run, as the file spells them."""
    doubts: tuple[str, ...] = ()
    """Why the network may not be the one that was trained, in fixed wordings: with any of them no PASS is possible."""
    head: Literal["softmax", "sigmoid", "regression", "segmentation", "features"] = "softmax"
    classes: int = 0
    channels: int = 3
    side: int = 224
    """Pixels of the square input the audit uses."""
    side_by: Literal["weights", "default", "policy", "statistics"] = "default"
    """Where the side comes from: position embeddings or head shapes, the library's default, or the policy."""
    evidence: tuple[str, ...] = ()
    """Differences from the library's network and what was assumed, in fixed wordings with the library's key names."""
