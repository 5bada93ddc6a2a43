"""The folders in which policy and waivers are looked for."""

from __future__ import annotations

from pathlib import Path


def searched(cwd: Path) -> tuple[Path, ...]:
    """The folders in which policy and waivers are looked for: ``cwd`` and those above it, nearest first.

    The last is the root of the repository (the first folder with a ``.git``). Outside a repository the search ends
    below the home folder, and outside that it does not leave ``cwd``: what lies in ``/tmp`` must not set the gate.
    """
    start = cwd.resolve()
    folders = (start, *start.parents)
    for number, folder in enumerate(folders):
        if (folder / ".git").exists():
            return folders[: number + 1]
    home = _home()
    below_home = folders[: folders.index(home)] if home in folders else ()
    return below_home or (start,)


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # an account without one
        return None
