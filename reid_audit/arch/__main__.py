"""``python -m reid_audit.arch build``: rebuild the index from the installed torchvision and timm (minutes)."""

from __future__ import annotations

import sys
from pathlib import Path

from reid_audit.arch.build_index import write
from reid_audit.arch.index import INDEX_PATH
from reid_audit.observer import Event, StageAdvanced


class _Progress:
    def notice(self, event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.step % 50 == 0:
            sys.stderr.write(f"{event.step} networks\n")


def main(arguments: list[str]) -> int:
    """``build [PATH]``; any other argument is a usage error (2)."""
    if not arguments or arguments[0] != "build" or len(arguments) > 2:
        sys.stderr.write("usage: python -m reid_audit.arch build [PATH]\n")
        return 2
    path = Path(arguments[1]) if len(arguments) == 2 else INDEX_PATH
    count = write(path, _Progress())
    sys.stderr.write(f"{count} networks, {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
