"""The parent's side of the reading process: start it, wait for it, and believe only what can be checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Any

from reid_audit.checkpoint.globals import PickledCode
from reid_audit.checkpoint.layout import Entry, Layout, Other
from reid_audit.checkpoint.limits import MIB, Limits
from reid_audit.checkpoint.sniff import Container
from reid_audit.errors import CheckpointError, UnsafeCheckpointError

CHILD: tuple[str, ...] = ("-P", "-m", "reid_audit.checkpoint.child")
PACKAGES = Path(__file__).resolve().parents[2]


def read_in_child(
    file: BufferedReader, container: Container, size: int, limits: Limits, pickled_code: PickledCode
) -> Layout:
    """Parse the open ``file`` of ``size`` bytes in a process of its own; ``pickled_code`` is the policy's key.

    Raises what the process refuses, and CheckpointError where it was stopped, crashed, or made no sense.
    """
    with tempfile.TemporaryFile("w+") as answer:
        _run(file.fileno(), answer.fileno(), (container.value, pickled_code), size, limits)
        answer.seek(0)
        try:
            return believed(json.load(answer), size)
        except (ValueError, KeyError, TypeError):
            raise _stopped("the reading process ended without a result", limits, size) from None


def believed(result: dict[str, Any], size: int) -> Layout:
    """The layout a reading process found, or the refusal it raised.

    Raises ValueError, KeyError or TypeError where it makes no sense for a file of ``size`` bytes.
    """
    if "error" in result:
        kind = UnsafeCheckpointError if result["error"] == UnsafeCheckpointError.__name__ else CheckpointError
        raise kind(str(result["what"]), closest=str(result["closest"]), remedy=str(result["remedy"]))
    others = [
        Other(str(o["name"]), _entries(o["entries"]), str(o["refused"]), str(o["prefix"])) for o in result["others"]
    ]
    layout = Layout(
        entries=_entries(result["entries"]),
        wrapper=str(result["wrapper"]),
        findings=tuple(map(str, result["findings"])),
        name=str(result["name"]),
        prefix=str(result["prefix"]),
        others=tuple(others),
        beside=tuple(map(str, result["beside"])),
        apart=tuple(map(str, result["apart"])),
        code=tuple(map(str, result["code"])),
    )
    if not all(_inside(entry, size) for entry in layout.every):
        raise ValueError("a tensor outside the file")
    return layout


def _entries(listed: list[Any]) -> tuple[Entry, ...]:
    return tuple(
        Entry(key, dtype, at, tuple(shape), tuple(stride), *coded) for key, dtype, at, shape, stride, *coded in listed
    )


def _inside(entry: Entry, size: int) -> bool:
    """Whether the values of ``entry`` lie in a file of ``size`` bytes, or are as many as it says."""
    if entry.coding == "hex":
        return len(entry.literal) == 2 * entry.span
    stop = entry.stop if entry.coding else entry.start + entry.span
    return 0 <= entry.start <= stop <= size and (not entry.coding or stop - entry.start <= 2 * entry.span)


def _run(descriptor: int, answer: int, how: tuple[str, str], size: int, limits: Limits) -> None:
    limited = (limits.memory(size), limits.processor(size), limits.result_bytes)
    command = [sys.executable, *CHILD, *map(str, (descriptor, answer, *how, size, *limited))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command, pass_fds=(descriptor, answer), cwd="/", env={**os.environ, **search_path(), **threads},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=limits.deadline(size), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _stopped(f"reading took longer than {limits.deadline(size):.0f} s", limits, size) from None
    if done.returncode != 0:
        raise _stopped(f"the reading process {_end(done.returncode)}", limits, size)


def search_path() -> dict[str, str]:
    """Where this package runs from a source tree, the reading process must find the same one."""
    if PACKAGES.name in ("site-packages", "dist-packages"):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH", ""))))}


def _end(code: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"was stopped ({signal.Signals(-code).name})"
    if code < 0:
        return f"crashed (signal {-code})"
    return f"ended with {code}"


def _stopped(what: str, limits: Limits, size: int) -> CheckpointError:
    allowed = f"{limits.memory(size) // MIB} MiB and {limits.processor(size)} s of processor time"
    return CheckpointError(
        f"the file cannot be read within its limits: {what}",
        closest=f"allowed are {allowed} for {size} bytes",
        remedy="download or save it again, best as safetensors; where memory or TMPDIR is full, make room",
    )
