"""``reid-audit`` and ``python -m reid_audit``: a failure to load what follows must not look like a verdict."""

from __future__ import annotations

import os
import sys

NOT_AUDITED = 3


def run() -> None:
    """Entry point of the command line: whatever keeps it from being loaded ends with code 3, since Python's own code
    for it is 1, which is a verdict."""
    try:
        from reid_audit.cli import run as command
    except BaseException as error:
        _refuse(error)
    command()


def _refuse(error: BaseException) -> None:
    """Three lines, and the end of the process. ``errors``, which writes them elsewhere, may be what is broken."""
    said = (str(error).strip().splitlines() or [""])[0][:300]
    lines = (
        "not audited: the command cannot be loaded",
        f"closest: {type(error).__name__} {said}".rstrip(),
        "help: install it again (pip install --force-reinstall reid-audit), or give it more memory; this is no verdict",
    )
    try:
        sys.stderr.write("\n".join((*lines, "")))
        sys.stderr.flush()
    finally:
        os._exit(NOT_AUDITED)


if __name__ == "__main__":
    run()
