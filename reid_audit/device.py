"""Where the work is done."""

from __future__ import annotations

from typing import Literal

import torch

from reid_audit.errors import AuditError

Wanted = Literal["auto", "cpu", "cuda"]


def usable_device(wanted: Wanted) -> torch.device:
    """CUDA where it is wanted or there, otherwise the CPU. Raises AuditError for CUDA where there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise AuditError(
            "--device cuda was asked for, but no CUDA device is usable here",
            closest="cpu",
            remedy="use --device auto or cpu, or install a torch build for this machine's GPU",
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
