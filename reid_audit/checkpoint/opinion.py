"""picklescan's verdict as a second opinion, where the optional extra ``scan`` is installed."""

from __future__ import annotations

import io
import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from reid_audit.checkpoint.globals import BINDINGS, modern
from reid_audit.checkpoint.limits import MIB
from reid_audit.errors import UnsafeCheckpointError

LARGEST = MIB
"""picklescan keeps every opcode in memory: larger pickles are not shown to it."""
TOO_LARGE = "picklescan was not asked: the pickle is large; this reader's own list decided"
FAILED = "picklescan could not read the pickle; this reader's own list decided"


def second_opinion(programme: bytes) -> tuple[str, ...]:
    """Findings about picklescan's verdict; empty where it agrees or is not installed.

    Raises UnsafeCheckpointError where picklescan calls a global dangerous that this reader's list knows as harmless;
    ``BINDINGS`` are judged by what they are applied to, which picklescan does not look at.
    """
    if find_spec("picklescan") is None:
        return ()
    if len(programme) > LARGEST:
        return (TOO_LARGE,)
    logging.getLogger("picklescan").disabled = True
    try:
        result = _scanned(programme)
    except Exception:  # it may fail on anything; that must not decide
        return (FAILED,)
    called = {f"{g.module}.{g.name}" for g in result.globals if g.safety.value == "dangerous"}
    dangerous = sorted(name for name in called if modern(name) not in BINDINGS)
    if dangerous:
        raise UnsafeCheckpointError(
            f"picklescan calls {', '.join(name[:80] for name in dangerous[:5])} dangerous",
            closest="this reader would put an empty placeholder in its place; the stricter verdict counts",
            remedy="save model.state_dict() alone, best as safetensors: safetensors.torch.save_file(...)",
        )
    return (FAILED,) if result.scan_err else ()


def _scanned(programme: bytes) -> Any:
    return import_module("picklescan.scanner").scan_pickle_bytes(io.BytesIO(programme), "data.pkl")
