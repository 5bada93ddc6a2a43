"""The command line with a fault that strikes when a stage begins.

python -m benchmarks.lab.faulty FAULT STAGE check model.pt ...
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import NoReturn

from reid_audit import cli
from reid_audit.console import ConsoleObserver
from reid_audit.observer import Event, StageStarted

SPARE_BYTES = 48 << 20
"""Address space that is left to a process whose memory is short: the next large array does not fit."""
CUT = 1000
"""Bytes of a file that still fit where the disk is full."""
DAY = 86_400.0


def no_space() -> None:
    """From now on no file takes more than ``CUT`` bytes, as on a full disk (EFBIG in place of ENOSPC)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def full_disk() -> None:
    """Fill the file system at ``FAULTY_DISK``, which is a small one of its own."""
    with Path(os.environ["FAULTY_DISK"], "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1 << 12))
        except OSError:
            return


def no_memory() -> None:
    """Leave ``SPARE_BYTES`` of address space."""
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + SPARE_BYTES, resource.RLIM_INFINITY))


def no_device_memory() -> NoReturn:
    """What PyTorch raises where the card is full."""
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 79 GiB.")


def lost_device() -> NoReturn:
    """What PyTorch raises where the card is gone."""
    raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later.")


class Jumping(datetime):
    """A clock that goes two days back each time it is read."""

    read = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Jumping:
        """The time, so many days off."""
        cls.read += 1
        return cls.fromtimestamp(time.time(), tz) - timedelta(days=2 * cls.read)


def jumping_clock() -> None:
    """Every look at the calendar is two days before the one before."""
    from reid_audit.checking import ahead, steps

    for module in (ahead, steps):
        vars(module)["datetime"] = Jumping


def ended_by(number: signal.Signals) -> Callable[[], None]:
    """The signal, sent to this process; SIGINT as from a terminal, though what runs in the background ignores it."""

    def strike() -> None:
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        os.kill(os.getpid(), number)

    return strike


FAULTS: dict[str, Callable[[], None]] = {
    "kill": ended_by(signal.SIGKILL),
    "int": ended_by(signal.SIGINT),
    "term": ended_by(signal.SIGTERM),
    "no-space": no_space,
    "full-disk": full_disk,
    "no-memory": no_memory,
    "no-device-memory": no_device_memory,
    "lost-device": lost_device,
    "clock": jumping_clock,
}


def struck_at(place: str, strike: Callable[[], None]) -> Callable[[ConsoleObserver, Event], None]:
    """What takes note of events in place of a console, and strikes once, when the stage ``place`` begins."""
    notice, waiting = ConsoleObserver.notice, [strike]

    def noticed(observer: ConsoleObserver, event: Event) -> None:
        notice(observer, event)
        if isinstance(event, StageStarted) and event.stage == place and waiting:
            waiting.pop()()

    return noticed


def main() -> None:
    fault, place, *words = sys.argv[1:]
    ConsoleObserver.notice = struck_at(place, FAULTS[fault])  # type: ignore[method-assign, assignment]
    sys.argv = ["reid-audit", *words]
    cli.run()


if __name__ == "__main__":
    main()
