"""What the machine has left: memory and disk."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be used on ``device``; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [found for found in (_available(), _within_limit()) if found is not None]
    return min(known, default=None)


def free_disk(folder: Path) -> int | None:
    """Bytes free where ``folder`` is, or would be made; None where the system does not say."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), None)
    with suppress(OSError):
        return None if there is None else shutil.disk_usage(there).free
    return None


def _available() -> int | None:
    with suppress(OSError, ValueError, KeyError):
        return 1024 * _table(Path("/proc/meminfo"), ":")["MemAvailable"]
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _within_limit() -> int | None:
    """What a container's memory limit leaves, files that can be dropped counted as free."""
    with suppress(OSError, ValueError, KeyError):
        limit, used = (int((CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return limit - used + _table(CGROUP / "memory.stat", " ")["inactive_file"]
    return None


def _table(path: Path, mark: str) -> dict[str, int]:
    """Lines of a name, ``mark`` and a number."""
    pairs = (line.partition(mark) for line in path.read_text(encoding="ascii").splitlines())
    return {name: int(rest.split()[0]) for name, _, rest in pairs if rest.split()}
