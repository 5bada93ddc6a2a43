"""Commands that compute: threads and work memory of linear algebra are settled before they begin, and no library's exit
is a verdict."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import click

from reid_audit.cli.processors import keep_to_quota

NOT_AUDITED = 3
LAST_WORDS = (
    b"not audited: a library ended the process\n"
    b"closest: those of linear algebra and threads do so where they get no memory\n"
    b"help: run again where there is more memory, this is not a verdict; the last error of the system"
)
"""``perror`` adds the error. It stays in memory as long as the process may end by it."""


class Computing(click.Command):
    """A command that is made ready to compute once its options are read: --help does without."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raises OSError (ENOMEM) where there is no work memory."""
        make_ready()
        return super().invoke(ctx)


class Announced(Computing):
    """A command that says its first line before anything heavy is imported, and makes itself ready."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        return click.Command.invoke(self, ctx)


class Conducting(Computing):
    """A command whose work is done by other processes, each of which counts its own threads."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Raises OSError (ENOMEM) where there is no work memory."""
        from reid_audit.workspace import take_workspace

        take_workspace()
        return click.Command.invoke(self, ctx)


def make_ready() -> None:
    """Settle the number of threads, and take the work memory of linear algebra. Raises OSError (ENOMEM) where there is
    none."""
    from reid_audit.workspace import take_workspace

    keep_to_quota()
    take_workspace()


def outlive_exits() -> None:
    """Let the process end with code 3 and three lines where anything but ``leave`` ends it in order.

    OpenBLAS and the OpenMP runtime call exit(1) where they get no memory, and 1 is FAIL. What ``exit`` calls is
    registered with the C library, in the reverse order: ``perror``, then ``_exit``. Nothing of Python runs, which might
    need memory, or a lock that another thread holds. ``leave`` ends by ``_exit``, which calls neither. Where there is
    no such C library, as on Windows, the code stays.
    """
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        for function, argument in ((library._exit, ctypes.c_void_p(NOT_AUDITED)), (library.perror, LAST_WORDS)):
            library.__cxa_atexit(ctypes.cast(function, ctypes.c_void_p), argument, None)
