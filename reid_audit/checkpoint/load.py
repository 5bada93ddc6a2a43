"""From a path to a Checkpoint: open once, sniff, hash, and read in a way that cannot take this process down."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import safetensors.torch
from torch import Tensor

from reid_audit.checkpoint.limits import DEFAULT, MIB, Limits
from reid_audit.checkpoint.read import Read, read_safetensors
from reid_audit.checkpoint.sniff import HEAD_BYTES, Container, sniff
from reid_audit.errors import CheckpointError, UnsafeCheckpointError
from reid_audit.records import CheckpointSummary

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A file's weights, and what is known about the file."""

    path: Path
    tensors: dict[str, Tensor]
    """The model's own entries, unwrapped, on the CPU, in file order; halves are read as fp32."""
    summary: CheckpointSummary


def load_checkpoint(path: Path, *, limits: Limits = DEFAULT) -> Checkpoint:
    """Read a safetensors or torch.save file without running anything in it.

    torch files are parsed in a child process with limits on memory, time and written bytes.
    Raises UnsafeCheckpointError (exit 5) where reading would need foreign code, CheckpointError (exit 3) otherwise.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.file_bytes:
            raise CheckpointError(
                f"the file has {size} bytes",
                closest=f"at most {limits.file_bytes} are read",
                remedy="audit a smaller model",
            )
        container = sniff(file.read(HEAD_BYTES), size)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        read = (
            read_safetensors(file, size, limits)
            if container is Container.SAFETENSORS
            else _torch(file, container, size, limits)
        )
        if os.fstat(file.fileno()).st_size != size:
            raise CheckpointError("the file changed while it was read", closest=f"{size} bytes", remedy="try again")
    return Checkpoint(path=path, tensors=read.tensors, summary=_summary(read, digest, container, size))


def _summary(read: Read, digest: str, container: Container, size: int) -> CheckpointSummary:
    own = [t for k, t in read.tensors.items() if t.is_floating_point() and not k.endswith(BUFFERS)]
    return CheckpointSummary(
        sha256=digest,
        format=container.value,
        bytes=size,
        tensors=len(read.tensors),
        parameters=sum(t.numel() for t in own),
        dtypes=tuple(sorted(read.dtypes.items(), key=lambda item: (-item[1], item[0]))),
        wrapper=read.wrapper,
        findings=tuple(dict.fromkeys(read.findings)),
    )


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """The file, opened once, so that what is hashed is what is read. Never blocks on a FIFO or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        parent = path.parent if path.parent.is_dir() else Path()
        near = sorted(p.name for p in parent.iterdir() if p.suffix in (".pt", ".pth", ".safetensors", ".ckpt", ".bin"))[
            :3
        ]
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(
            f"{path} cannot be opened: {reason}",
            closest=", ".join(near) or "no checkpoint lies in that folder",
            remedy="check the path and the file's permissions",
        ) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise CheckpointError(
            f"{path} is {kind}", closest="one regular file is read", remedy="give the checkpoint file itself"
        )
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _torch(file: BufferedReader, container: Container, size: int, limits: Limits) -> Read:
    with tempfile.TemporaryDirectory(prefix="reid-audit-") as name:
        folder = Path(name)
        _run_child(file, folder, container, size, limits)
        try:
            result = json.loads((folder / "result.json").read_text())
        except (OSError, ValueError):
            raise _stopped("the reading process ended without a result", limits, size) from None
        if "error" in result:
            kind = UnsafeCheckpointError if result["error"] == "UnsafeCheckpointError" else CheckpointError
            raise kind(result["what"], closest=result["closest"], remedy=result["remedy"])
        stored = safetensors.torch.load((folder / "tensors.safetensors").read_bytes())
    tensors = {key: stored[f"{i:06d}"] for i, key in enumerate(result["keys"])}
    return Read(tensors, result["dtypes"], result["wrapper"], tuple(result["findings"]))


def _run_child(file: BufferedReader, folder: Path, container: Container, size: int, limits: Limits) -> None:
    seconds = limits.deadline(size)
    descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    arguments = [descriptor, folder, container.value, size, limits.memory(size), int(seconds) + 1]
    command = [sys.executable, "-P", "-m", "reid_audit.checkpoint.child", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command, pass_fds=(descriptor,), cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _stopped(f"reading took longer than {seconds:.0f} s", limits, size) from None
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        raise _stopped(f"the reading process was stopped ({done.returncode})", limits, size)


def _stopped(what: str, limits: Limits, size: int) -> CheckpointError:
    return CheckpointError(
        f"the file cannot be read within its limits: {what}",
        closest=f"allowed are {limits.memory(size) // MIB} MiB and {limits.deadline(size):.0f} s for {size} bytes",
        remedy="download or save it again, best as safetensors",
    )
