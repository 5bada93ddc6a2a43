"""The reading process: ``python -P -m reid_audit.checkpoint.child FD FOLDER CONTAINER SIZE MEMORY SECONDS``.

It reads the open file FD, writes ``result.json`` and ``tensors.safetensors`` into FOLDER, and ends with 0 even where it
refuses: the refusal is in the result. Any other end means that a limit was hit.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from reid_audit.checkpoint.limits import DEFAULT, MIB
from reid_audit.checkpoint.read import Read, read_torch
from reid_audit.checkpoint.sniff import Container
from reid_audit.errors import AuditError, CheckpointError


def restrict(memory: int, seconds: int, file_bytes: int) -> None:
    """Limit this process: address space beyond what it has now, CPU seconds, size of files written, no core dump."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hand_over(read: Read, folder: Path) -> None:
    """Write what was read, so that the parent can load it without parsing a pickle."""
    names = {key: f"{i:06d}" for i, key in enumerate(read.tensors)}
    save_file({names[k]: t.contiguous().clone() for k, t in read.tensors.items()}, folder / "tensors.safetensors")
    result = {
        "keys": list(read.tensors),
        "dtypes": read.dtypes,
        "wrapper": read.wrapper,
        "findings": list(read.findings),
    }
    (folder / "result.json").write_text(json.dumps(result))


def refuse(error: AuditError, folder: Path) -> None:
    """Write a refusal."""
    result = {"error": type(error).__name__, "what": error.what, "closest": error.closest, "remedy": error.remedy}
    (folder / "result.json").write_text(json.dumps(result))


def main(arguments: list[str]) -> int:
    """Read the file named by ``arguments`` under the limits they state."""
    descriptor, folder, container, size, memory, seconds = arguments
    torch.set_num_threads(1)
    restrict(int(memory), int(seconds), DEFAULT.unpacked(int(size)) + 64 * MIB)
    try:
        with os.fdopen(int(descriptor), "rb") as file:
            hand_over(read_torch(file, Container(container), int(size), DEFAULT), Path(folder))
    except AuditError as error:
        refuse(error, Path(folder))
    except (MemoryError, RecursionError):
        what = CheckpointError(
            "reading the file needs more memory than its size explains",
            closest=f"{int(memory) // MIB} MiB were allowed",
            remedy="download or save it again, best as safetensors",
        )
        refuse(what, Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
