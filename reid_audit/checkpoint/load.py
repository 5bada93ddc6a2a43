"""From a path to a Checkpoint: open once, sniff, hash, and read in a way that cannot take this process down."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.checkpoint.folder import near, refuse_folder
from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.layout import Layout
from reid_audit.checkpoint.limits import DEFAULT, Limits
from reid_audit.checkpoint.shards import part_of
from reid_audit.checkpoint.sniff import HEAD_BYTES, Container, sniff
from reid_audit.checkpoint.supervise import read_in_child
from reid_audit.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from reid_audit.records import CheckpointSummary

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Tensors of a file that are shaped like a network, or like several side by side with prefixes of their own."""

    name: str
    """Where in the file they are, in words that can be shown; empty: at the top."""
    tensors: dict[str, Tensor]
    """On the CPU, in file order, with keys as the network names them; halves are read as fp32."""
    prefix: str = ""
    """What all names in the file begin with, and here do not, in words that can be shown."""
    refused: str = ""
    """Why they are not read, where they are not."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A file's weights, and what is known about the file."""

    path: Path
    tensors: dict[str, Tensor]
    """The model's own entries, unwrapped, on the CPU, in file order; halves are read as fp32."""
    summary: CheckpointSummary
    name: str = ""
    """Where in the file the model is, in words that can be shown; empty: at the top."""
    prefix: str = ""
    """What all its names in the file begin with, in words that can be shown."""
    others: tuple[Weights, ...] = ()
    """Every other group of tensors that is shaped like a network, in file order."""

    @property
    def networks(self) -> tuple[Weights, ...]:
        """Every group that is shaped like a network, the model first."""
        return (Weights(self.name, self.tensors, self.prefix), *self.others)


def load_checkpoint(path: Path, *, limits: Limits = DEFAULT, pickled_code: PickledCode = "warn") -> Checkpoint:
    """Read a safetensors or torch.save file without running anything in it.

    Files are parsed in a child process with limits on memory, time and written bytes. ``pickled_code`` is the policy's
    key: whether a pickle may name classes that are not listed, which are never imported.
    Raises UnsafeCheckpointError (exit 5) where reading would need foreign code, CheckpointError (exit 3) otherwise.
    """
    with _opened(path) as file:
        layout, summary = _examined(file, path.name, limits, pickled_code)
        stamp = _stamp(file)
        from reid_audit.checkpoint.tensors import read_tensors  # torch, only where the file has passed

        tensors = read_tensors(file.fileno(), layout.entries)
        others = [Weights(o.name, read_tensors(file.fileno(), o.entries), o.prefix, o.refused) for o in layout.others]
        _refuse_change(file, stamp)
        return Checkpoint(path, tensors, summary, layout.name, layout.prefix, tuple(others))


def screen(path: Path, *, limits: Limits = DEFAULT, pickled_code: PickledCode = "warn") -> CheckpointSummary:
    """What ``load_checkpoint`` would say of the file, refusals included, without importing torch."""
    with _opened(path) as file:
        return _examined(file, path.name, limits, pickled_code)[1]


def _examined(
    file: BufferedReader, name: str, limits: Limits, pickled_code: PickledCode
) -> tuple[Layout, CheckpointSummary]:
    size, _ = stamp = _stamp(file)
    if size > limits.file_bytes:
        raise CheckpointError(
            f"the file has {size} bytes",
            closest=f"at most {limits.file_bytes} are read",
            remedy="audit a smaller model",
        )
    container = sniff(file.read(HEAD_BYTES), size, name)
    file.seek(0)
    layout = _whole(name, lambda: read_in_child(file, container, size, limits, pickled_code))
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    _refuse_change(file, stamp)
    return layout, _summary(layout, digest, container, size)


def _whole(name: str, read: Callable[[], Layout]) -> Layout:
    """What ``read`` gives, unless the file is one part of several. Raises what ``read`` raises, attacks first."""
    part = part_of(name)
    try:
        layout = read()
    except CheckpointError as error:
        raise part or error from None
    if part is not None:
        raise part
    return layout


def _stamp(file: BufferedReader) -> tuple[int, int]:
    """Bytes, and nanoseconds of the last change."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _refuse_change(file: BufferedReader, stamp: tuple[int, int]) -> None:
    if _stamp(file) != stamp:
        raise CheckpointError("the file changed while it was read", closest=f"{stamp[0]} bytes", remedy="try again")


def _summary(layout: Layout, digest: str, container: Container, size: int) -> CheckpointSummary:
    from reid_audit.records import CheckpointSummary  # not needed by the reading process, which imports this package

    own = [entry for entry in layout.entries if entry.floating and not entry.key.endswith(BUFFERS)]
    dtypes = Counter(entry.dtype for entry in layout.entries)
    return CheckpointSummary(
        sha256=digest,
        format=container.value,
        bytes=size,
        tensors=len(layout.entries),
        parameters=sum(entry.values for entry in own),
        dtypes=tuple(sorted(dtypes.items(), key=lambda item: (-item[1], item[0]))),
        wrapper=layout.wrapper,
        findings=layout.findings,
        others=tuple(other.name for other in layout.others),
        beside=layout.beside,
        apart=layout.apart,
        pickled_code=layout.code,
    )


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """The file, opened once, so that what is hashed is what is read. Never blocks on a FIFO or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"{path} cannot be opened: {reason}",
            closest=", ".join(near(path)) or "no checkpoint lies in that folder",
            remedy="check the path and the file's permissions",
        ) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        os.close(descriptor)
        raise refuse_folder(path)
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "not a regular file"
        raise CheckpointError(
            f"{path} is {kind}", closest="one regular file is read", remedy="give the checkpoint file itself"
        )
    with os.fdopen(descriptor, "rb") as file:
        yield file
