"""One case of each kind through the command line, in real processes; and what becomes of a reader that dies.

Processor time is asserted instead of wall clock, which other work on the machine would stretch. It includes the
reading process; the peak of memory is the larger one of both processes.
"""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_all import CASES
from corpus_base import BROKEN, STATE, UNSAFE, Case, saved, zipped
from foreign import bare, importable
from measured import Ended, launched

from reid_audit.checkpoint import load_checkpoint, screen, supervise
from reid_audit.checkpoint.limits import Limits
from reid_audit.errors import CheckpointError

SECONDS = 5.0
GIB = 2**20
"""In KiB."""
ONE_OF_EACH = {case.kind: case for case in CASES}


def command(*args: str | Path, cwd: Path) -> Ended:
    with tempfile.TemporaryDirectory() as notes:
        ended = launched([sys.executable, "-m", "reid_audit", *map(str, args)], cwd=cwd, notes=Path(notes))
    return replace(ended, lines=[line for line in ended.lines if not line.startswith("reid-audit ")])


def refused(ended: Ended, code: int, phrase: str = "") -> None:
    assert ended.code == code, ended.lines
    assert [line.split(":")[0] for line in ended.lines] == [
        "refused" if code == UNSAFE else "not audited",
        "closest",
        "help",
    ]
    assert phrase in ended.lines[0]
    assert ended.stdout == ""
    assert ended.seconds <= SECONDS, f"{ended.seconds:.1f} s of processor time"
    assert ended.peak <= 2 * GIB


@pytest.mark.parametrize("case", ONE_OF_EACH.values(), ids=list(ONE_OF_EACH))
def test_refused_by_the_command(case: Case, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(case.make())
    (tmp_path / "reid-audit.toml").write_text('pickled_code = "refuse"\n')
    refused(command("check", "model.pt", cwd=tmp_path), case.code, case.phrase)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", "reid-audit.toml"]


def test_the_policy_decides_about_names_of_code(tmp_path: Path) -> None:
    with importable("my_project.Config") as made:
        (tmp_path / "model.pt").write_bytes(saved({"state_dict": STATE, "config": bare(made["Config"])}))
    ended = command("inspect", "model.pt", cwd=tmp_path)
    assert ended.code == BROKEN
    assert "names code, neither imported nor called here: my_project.Config" in ended.stdout
    (tmp_path / "reid-audit.toml").write_text('pickled_code = "refuse"\n')
    refused(command("check", "model.pt", cwd=tmp_path), UNSAFE, "my_project.Config")


def hash_bomb() -> bytes:
    """A tuple of tuples, 2^60 of them to hash, as a key."""
    return b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."


def nesting() -> bytes:
    """A tuple nested so deeply that hashing it overflows the C stack."""
    return b"\x80\x02}N" + b"\x85" * 1_000_000 + b"K\x01s."


def copies() -> bytes:
    """A list of 100,000 items, copied 10,000 times."""
    copied = b"h\x01h\x00\x85R" * 10_000
    return b"\x80\x02ctorch\nSize\nq\x01](" + b"N" * 100_000 + b"eq\x00(" + copied + b"t."


def lists() -> bytes:
    """30 MB that would be 30 million lists."""
    return b"\x80\x02(" + b"]" * 30_000_000 + b"l."


KILLERS = {
    "hash bomb": (hash_bomb, "SIG"),
    "nesting": (nesting, "crashed"),
    "copies": (copies, "memory"),
    "lists": (lists, "damaged"),
}


@pytest.mark.parametrize("name", KILLERS)
def test_files_that_kill_their_reader(name: str, tmp_path: Path) -> None:
    make, phrase = KILLERS[name]
    (tmp_path / "model.pt").write_bytes(zipped(make()))
    refused(command("check", "model.pt", cwd=tmp_path), BROKEN, phrase)


DEATHS = {
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "stopped (SIGKILL)"),
    "segmentation fault": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (signal 11)"),
    "bus error": ("import os, signal; os.kill(os.getpid(), signal.SIGBUS)", "crashed (signal 7)"),
    "an exception": ("raise ZeroDivisionError", "ended with 1"),
    "no result": ("pass", "without a result"),
    "half a result": ("import os, sys; os.write(int(sys.argv[2]), b'{')", "without a result"),
    "a result that is a list": ("import os, sys; os.write(int(sys.argv[2]), b'[]')", "without a result"),
    "a tensor outside the file": (
        "import os, sys; os.write(int(sys.argv[2]), b'{\"entries\": [[\"a\", \"float32\", 9999, [9], [1]]], "
        '"wrapper": "", "findings": []}\')',
        "without a result",
    ),
    "endless work": ("while True: pass", "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("name", DEATHS)
def test_a_reader_that_dies_is_a_refusal(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programme, phrase = DEATHS[name]
    (tmp_path / "model.pt").write_bytes(saved(STATE))
    monkeypatch.setattr(supervise, "CHILD", ("-S", "-c", programme))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "model.pt", limits=Limits(seconds=1.0 if name == "endless work" else 60.0))
    assert caught.value.exit_code == BROKEN
    assert len(caught.value.lines()) == 3
    assert phrase in caught.value.what


def test_what_a_command_used_is_its_own(tmp_path: Path) -> None:
    held = b"x" * (GIB // 2 * 1024)
    small = launched([sys.executable, "-I", "-S", "-c", ""], cwd=tmp_path, notes=tmp_path)
    large = launched([sys.executable, "-I", "-S", "-c", "b'x' * 2**28"], cwd=tmp_path, notes=tmp_path)
    assert held
    assert small.peak < GIB // 8 < large.peak
    assert (small.code, small.stdout, small.lines) == (0, "", [])


def test_file_kinds_by_the_command(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "near.pt").write_bytes(b"")
    for name, phrase in (("fifo", "a FIFO"), (".", "a folder"), ("missing.pt", "cannot be opened")):
        ended = command("check", name, cwd=tmp_path)
        refused(ended, BROKEN, phrase)
    assert "near.pt" in ended.lines[1]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pt").write_bytes(saved(STATE))
    (tmp_path / "a.pt").chmod(0)
    if os.geteuid() == 0:  # who may read everything, and in some containers can become nobody else
        monkeypatch.setattr(os, "open", denied)
    with pytest.raises(CheckpointError, match="cannot be opened: Permission denied") as caught:
        screen(tmp_path / "a.pt")
    assert caught.value.exit_code == BROKEN
    assert len(caught.value.lines()) == 3


def denied(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_refusal_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(subprocess.run))
    code = (
        "import sys\nfrom reid_audit.cli import exit_code\n"
        "print(exit_code(['check', 'evil.pt']))\nprint(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    code_line, modules = done.stdout.splitlines()
    assert code_line == str(UNSAFE)
    for heavy in ("torch", "torchvision", "timm", "numpy", "scipy", "sklearn"):
        assert f"'{heavy}'" not in modules


def test_a_refusal_says_that_latest_is_an_earlier_run(tmp_path: Path) -> None:
    earlier = tmp_path / "out" / "2026-01-01T00-00-00Z-00000000"
    earlier.mkdir(parents=True)
    (earlier / "report.json").write_text("{}")
    (tmp_path / "out" / "latest").symlink_to(earlier.name)
    (tmp_path / "model.pt").write_bytes(b"no model")
    done = command("check", "model.pt", "--out", "out", cwd=tmp_path)
    assert done.code == BROKEN
    assert any(f"is still the run {earlier.name}, not this check" in line for line in done.lines)
    assert (tmp_path / "out" / "latest" / "report.json").read_text() == "{}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [earlier.name, "latest"]
