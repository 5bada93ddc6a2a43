"""One folder per run below ``--out``, and which of them is the latest finished one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from reid_audit.errors import RunStateError

LATEST = "latest"
RESTRICTED = Path("restricted")
RESULT, ATTACK_RUNS = RESTRICTED / "result.json", RESTRICTED / "attack_runs"
REPORT = "report.json"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{8}(-\d+)?")


@contextmanager
def begun(out: Path, started: datetime, checkpoint_sha256: str) -> Iterator[Path]:
    """A new folder below ``out`` for one run, such as ``2026-11-26T12-30-05Z-3f2a9c1d``: its start and its weights.

    Where the run ends with an error and nothing was written, no folder stays. Raises RunStateError.
    """
    ours = [] if out.is_dir() else [out]
    folder = _created(out, f"{started.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}-{checkpoint_sha256[:8]}")
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # the first one that holds something stays, and so do those above it
            for empty in (folder / ATTACK_RUNS, folder / RESTRICTED, folder, *ours):
                if empty.is_dir():
                    empty.rmdir()
        raise


def _created(out: Path, name: str) -> Path:
    try:
        for number in range(1, 1000):
            folder = out / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder
    except OSError as error:
        raise RunStateError(
            f"cannot write below {out}", closest=error.strerror or str(error), remedy="give another --out"
        ) from error
    raise RunStateError(f"{out} holds {name} a thousand times", closest=name, remedy="give another --out")


def finish(run: Path) -> bool:
    """Point ``latest`` beside ``run`` at it, in one step: a link, or a text file with its name where links fail.

    False where ``latest`` is a folder of its own (a copy that followed the link): it is left as it is.
    """
    pointer, draft = run.parent / LATEST, run.parent / f".{LATEST}.{os.getpid()}"
    if pointer.is_dir() and not pointer.is_symlink():
        return False
    draft.unlink(missing_ok=True)
    try:
        draft.symlink_to(run.name, target_is_directory=True)
    except (OSError, NotImplementedError):
        draft.write_text(f"{run.name}\n", encoding="utf-8")
    draft.replace(pointer)
    return True


def finished(folder: Path) -> bool:
    """Whether ``folder`` holds what a finished run leaves."""
    return (folder / RESULT).is_file() or (folder / REPORT).is_file()


def runs_below(out: Path) -> tuple[Path, ...]:
    """The folders of all runs below ``out``, the newest start first."""
    if not out.is_dir():
        return ()
    return tuple(sorted((p for p in out.iterdir() if _NAME.fullmatch(p.name) and p.is_dir()), key=_order, reverse=True))


def _order(run: Path) -> tuple[str, int]:
    """Start, then the number of a run begun in the same second."""
    return run.name[:20], int((run.name[29:] or "-1")[1:])


def chosen(path: Path) -> Path:
    """The run that ``path`` means: a run's own folder, or the latest finished one below an ``--out`` folder.

    ``path`` comes back where it holds neither; whoever reads it says what is missing.
    """
    if not path.is_dir():
        return path
    pointed = _pointed(path)
    below = [] if pointed is not None else [run for run in runs_below(path) if finished(run)]
    copy = path / LATEST
    return pointed or (below[0] if below else copy if copy.is_dir() and not finished(path) else path)


def _pointed(out: Path) -> Path | None:
    """Where the link or the text file ``latest`` leads; None where it is neither, or leads nowhere."""
    pointer = out / LATEST
    try:
        name = str(pointer.readlink()) if pointer.is_symlink() else pointer.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    run = out / name
    return run if _NAME.fullmatch(name) and finished(run) else None


def later(run: Path) -> Path | None:
    """A run beside ``run`` that began after it, None where there is none. It failed, or is still going: otherwise
    ``latest`` would lead to it."""
    if not _NAME.fullmatch(run.name):
        return None
    newest = next(iter(runs_below(run.parent)), run)
    return newest if _order(newest) > _order(run) else None
