"""What the machine does to a command, and how it is told: it takes memory, disk or device away, or ends the process."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from reid_audit.errors import RunStateError
from reid_audit.memory import out_of_memory

GOES_ON = "--resume goes on from what was finished"
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""A disk or a quota is full, a file may not grow, or the file system became read-only, as disks that fail do."""
NO_DEVICE = ("cuda error", "cublas_status", "cudnn_status", "cusolver_status")


class Shortage(NamedTuple):
    """What the machine lacks, and what to do; the error itself is the line between them."""

    what: str
    remedy: str


def shortage(error: Exception) -> Shortage | None:
    """What of the machine was lacking where ``error`` came up; None where it is something else."""
    said = str(error).lower()
    number = error.errno if isinstance(error, OSError) else None
    if out_of_memory(error):
        return Shortage("out of memory", f"use a smaller --profile, or a machine with more memory: there {GOES_ON}")
    if number in NO_SPACE:
        return Shortage("a file cannot be written", f"make room there or give another --out, and run again; {GOES_ON}")
    if isinstance(error, RuntimeError) and any(words in said for words in NO_DEVICE):
        return Shortage("the GPU failed", f"run again, with --device cpu where it fails again; {GOES_ON}")
    return None


@contextmanager
def writing_below(out: Path) -> Iterator[None]:
    """A folder in which nothing can be written is refused by its name. Raises RunStateError; what the machine lacks is
    raised as it is."""
    try:
        yield
    except OSError as error:
        if shortage(error) is not None:
            raise
        raise RunStateError(
            f"cannot write below {out}", closest=error.strerror or str(error), remedy="give another --out"
        ) from error


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, which machines that are taken away send, ends the command as Ctrl-C does: in three lines, with code 3,
    and nothing is left running."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
