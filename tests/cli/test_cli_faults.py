"""What a command says and leaves behind where the machine fails it. Whole audits are struck in benchmarks/faults.py."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch

from benchmarks.faults import without_times
from reid_audit import cli
from reid_audit.atomic import write_atomically
from reid_audit.cli.computing import Computing
from reid_audit.cli.machine import ended_by_sigterm
from reid_audit.demo.targets import checkpoint_path
from reid_audit.store import write_private

PREVIOUS = b"what was there before"
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "report" / "golden"


def struck(*words: str | Path, cwd: Path, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Python with ``words``, as a command that is run by a person."""
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, preexec_fn=before, check=False,
        timeout=120, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def heads(said: str) -> list[str]:
    """How the last three lines begin."""
    return [line.partition(":")[0] for line in said.splitlines()[-3:]]


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of memory"),
        (RuntimeError("CUDA error: unspecified launch failure"), "the GPU failed"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file cannot be written"),
        (OSError(errno.EROFS, "Read-only file system"), "a file cannot be written"),
        (RuntimeError("of all things"), "internal error, RuntimeError"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "internal error, FileNotFoundError"),
    ],
)
def test_what_the_machine_lacks_is_said_and_is_not_a_verdict(
    error: Exception, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(cli.main, "main", fail)
    assert cli.exit_code([]) == 3
    said = capsys.readouterr().err
    assert heads(said) == ["not audited", "closest", "help"]
    assert said.startswith(f"not audited: {what}\n")
    assert ("--resume goes on" in said) is not what.startswith("internal")


def test_a_traceback_that_was_asked_for_is_no_verdict_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(cli.main, "main", fail)
    monkeypatch.setenv("REID_AUDIT_TRACEBACK", "1")
    assert cli.exit_code([]) == 3
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "ZeroDivisionError: of all things" in said


@pytest.mark.parametrize("fault", ["int", "term"])
def test_a_signal_ends_a_check_in_three_lines(fault: str, tmp_path: Path) -> None:
    driver = ("-m", "benchmarks.lab.faulty", fault, "reading the checkpoint")
    done = struck(*driver, "check", checkpoint_path("cnn"), cwd=tmp_path)
    assert (done.returncode, heads(done.stderr)) == (3, ["not audited", "closest", "help"])
    assert "not audited: interrupted" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_sigterm_is_as_before_once_a_command_has_ended() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_too_little_address_space_for_the_libraries(tmp_path: Path) -> None:
    """The reading process, which asks for a limit of its own, keeps to the lower one and reads the file."""
    limit = 700 << 20

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = struck("-m", "reid_audit", "check", checkpoint_path("cnn"), cwd=tmp_path, before=before)
    assert (done.returncode, heads(done.stderr)) == (3, ["not audited", "closest", "help"])
    assert "not audited: out of memory" in done.stderr


@pytest.mark.parametrize("megabytes", [160, 240])
def test_judging_again_does_not_wait_for_ever_for_memory_that_libraries_ask_for_when_loaded(
    megabytes: int, tmp_path: Path
) -> None:
    def before() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = struck("-m", "reid_audit", "gate", GOLDEN, cwd=tmp_path, before=before)
    assert (done.returncode, heads(done.stderr)) == (3, ["not audited", "closest", "help"])
    assert "not audited: out of memory" in done.stderr


SCRIPT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]["reid-audit"]


@pytest.mark.parametrize(
    "words", [("-m", "reid_audit"), ("-c", "from {} import {} as f; f()".format(*SCRIPT.split(":")))]
)
@pytest.mark.parametrize("broken", ["ImportError('no such symbol')", "MemoryError()", "SystemExit(1)"])
def test_a_library_that_cannot_be_loaded_is_no_verdict(words: tuple[str, str], broken: str, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(f"raise {broken}\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, *words, "check", "no.pt"], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=120, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert (done.returncode, heads(done.stderr)) == (3, ["not audited", "closest", "help"])
    assert len(done.stderr.splitlines()) == 3


def test_linear_algebra_neither_hangs_nor_ends_the_process_where_memory_is_short(tmp_path: Path) -> None:
    program = (
        "import resource, numpy, scipy.linalg\n"
        "from reid_audit.workspace import take_workspace\n"
        "take_workspace()\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (8 << 20), resource.RLIM_INFINITY))\n"
        "rows = numpy.ones((200, 200))\n"
        "rows @ rows\n"
        "scipy.linalg.svd(rows)\n"
        "try:\n"
        "    take_workspace()\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    done = struck("-c", program, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{errno.ENOMEM}\n"), done.stderr


@pytest.mark.parametrize("end", ["ctypes.CDLL(None).exit(1)", "sys.exit(1)", "sys.exit(0)"])
def test_the_exit_of_a_library_is_not_a_verdict(end: str, tmp_path: Path) -> None:
    """As OpenBLAS and the OpenMP runtime end a process where they get no memory."""
    program = f"import ctypes, sys\nfrom reid_audit import cli\ncli.main.main = lambda **_: {end}\ncli.run()\n"
    done = struck("-c", program, cwd=tmp_path)
    assert (done.returncode, heads(done.stderr)) == (3, ["not audited", "closest", "help"])


def test_every_command_takes_the_work_memory_first() -> None:
    context = click.Context(cli.main)
    for name in cli.COMMANDS:
        command = cli.main.get_command(context, name)
        ends = command.commands.values() if isinstance(command, click.Group) else [command]
        assert all(isinstance(end, Computing) for end in ends), name


@pytest.mark.parametrize(("stream", "code"), [("stderr", 3), ("stdout", 3)])
def test_a_full_disk_under_the_output_changes_no_exit_code(stream: str, code: int, tmp_path: Path) -> None:
    words = ["render", str(GOLDEN / "passing.json"), "--format", "json"] if stream == "stdout" else ["check", "no.pt"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "reid_audit", *words], cwd=tmp_path, check=False, text=True,
            stdout=full if stream == "stdout" else subprocess.PIPE,
            stderr=full if stream == "stderr" else subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    assert done.returncode == code
    assert stream == "stderr" or "not audited: a file cannot be written" in done.stderr


@pytest.mark.parametrize("write", [write_atomically, write_private])
def test_a_file_that_does_not_fit_leaves_nothing_of_itself_and_what_was_there(
    write: Callable[[Path, bytes], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(PREVIOUS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("report.html", PREVIOUS)]


def test_two_runs_may_write_one_file_of_a_shared_folder_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "power.json", os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_private(path, b"of the other run")
        assert path.read_bytes() == b"of the other run"
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_private(path, b"of this run")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("power.json", b"of this run")]


def test_reports_are_compared_without_their_times() -> None:
    one, other = ({"budget": {"spent_seconds": s, "steps": 3}, "runs": [{"seconds": s}]} for s in (1.0, 2.0))
    assert without_times(one) == without_times(other) == {"budget": {"steps": 3}, "runs": [{}]}
