"""Output that nobody reads: a closed pipe must not change an exit code, which is the verdict."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Unread(io.FileIO):
    """A stream that drops what is written once its reader has gone, as for ``| head -1``."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Bytes taken: all of them where there is no reader any more."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let stdout and stderr of this process survive the end of a pipe. Terminals and replaced streams stay."""
    sys.stdout, sys.stderr = outliving(sys.stdout), outliving(sys.stderr)


def outliving(stream: TextIO) -> TextIO:
    """``stream`` written through ``Unread`` where it is a pipe or a file of this process."""
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Unread(descriptor, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
