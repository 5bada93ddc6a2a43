"""Output that nobody reads must not change an exit code, which is the verdict; and the end of a process is quick."""

from __future__ import annotations

import atexit
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TextIO

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


class Unkept(Unread):
    """A log that drops what cannot be written at all, as on a full disk: an audit does not end for its progress."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Bytes taken: all of them where none can be written."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let stdout and stderr of this process survive the end of a pipe, and stderr a full disk.

    Terminals and replaced streams stay.
    """
    sys.stdout, sys.stderr = outliving(sys.stdout, Unread), outliving(sys.stderr, Unkept)


def outliving(stream: TextIO, through: type[Unread]) -> TextIO:
    """``stream`` written through another one where it is a pipe or a file of this process."""
    if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        return stream
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(through(descriptor, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def leave(code: int) -> NoReturn:
    """End the process: what was registered for its exit runs, what was said is written, and no module is taken apart,
    which with torch takes seconds of nobody's budget."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a stream that was closed from the start is None
            stream.flush()
    os._exit(code)
