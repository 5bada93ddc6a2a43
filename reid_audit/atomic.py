"""A file appears whole or not at all: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Replace ``path`` in one step, text as UTF-8; the bytes are on disk before the name points at them. Returns
    ``path``. Raises OSError."""
    draft = path.with_name(f".{path.name}.part")
    with gone_unless_whole(draft), draft.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    return draft.replace(path)


@contextmanager
def gone_unless_whole(draft: Path) -> Iterator[None]:
    """The body writes ``draft``: where it does not come to its end, nothing of it stays on a disk that may be full."""
    try:
        yield
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
