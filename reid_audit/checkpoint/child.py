"""The reading process: ``python -P -m reid_audit.checkpoint.child FILE RESULT CONTAINER CODE SIZE LIMITS``.

It maps the open file FILE of SIZE bytes, writes one JSON document to the open file RESULT, and ends with 0 even where
it refuses: the refusal is in the result. CODE is the policy's ``pickled_code``; LIMITS are bytes of memory, seconds of
processor time, and bytes written. Any other end means that one of them was hit. It never imports torch.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import sys
from pathlib import Path
from typing import Any

from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.layout import Layout
from reid_audit.checkpoint.limits import DEFAULT, MIB
from reid_audit.checkpoint.read import read_layout
from reid_audit.checkpoint.sniff import Container
from reid_audit.errors import AuditError, CheckpointError

STATM = Path("/proc/self/statm")


def restrict(memory: int, seconds: int, file_bytes: int) -> None:
    """Limit this process: address space beyond what it has now, CPU seconds, size of files written, no core dump.

    The address space can be limited on Linux only.
    """
    if STATM.exists():
        wanted = int(STATM.read_text().split()[0]) * resource.getpagesize() + memory
        allowed = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def as_answer(layout: Layout) -> dict[str, Any]:
    """What was read, as JSON: names and places, no values."""
    return {
        "entries": layout.entries,
        "wrapper": layout.wrapper,
        "findings": layout.findings,
        "name": layout.name,
        "prefix": layout.prefix,
        "others": [
            {"name": o.name, "entries": o.entries, "refused": o.refused, "prefix": o.prefix} for o in layout.others
        ],
        "beside": layout.beside,
        "apart": layout.apart,
        "code": layout.code,
    }


def refusal(error: AuditError) -> dict[str, Any]:
    """A refusal, as JSON."""
    return {"error": type(error).__name__, "what": error.what, "closest": error.closest, "remedy": error.remedy}


def main(arguments: list[str]) -> int:
    """Read the file named by ``arguments`` under the limits they state."""
    descriptor, answer, container, code, size, memory, seconds, written = arguments
    pickled_code: PickledCode = "warn" if code == "warn" else "refuse"
    restrict(int(memory), int(seconds), int(written))
    try:
        with os.fdopen(int(descriptor), "rb") as file:
            data = mmap.mmap(file.fileno(), int(size), access=mmap.ACCESS_READ)
            result = as_answer(read_layout(file, data, Container(container), DEFAULT, pickled_code))
    except AuditError as error:
        result = refusal(error)
    except MemoryError:
        result = refusal(
            CheckpointError(
                "reading the file needs more memory than its size explains",
                closest=f"{int(memory) // MIB} MiB were allowed",
                remedy="download or save it again, best as safetensors",
            )
        )
    with os.fdopen(int(answer), "w") as out:
        json.dump(result, out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
