"""Fuzz target for the container parsing: ``python tests/fuzz/fuzz_container.py [--seconds 60] [--driver random]``.

One input is one file, or the pickle or header inside one, so that checksums do not stop every mutation. Whatever the
bytes are, they are refused in three lines or give places inside the file; nothing is imported or called; it is quick.
With atheris the mutations follow coverage; without it the same entry point gets random mutations of the same seeds.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import pickle
import random
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 5.0
STORAGE = struct.pack("<6f", *range(6))
FORBIDDEN = frozenset({"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen"})
"""Events that Python reports to audit hooks; the reader causes none of them, and imports codecs at most."""
seen: list[str] = []
watching = False


class Finding(Exception):
    """The reader broke a promise."""


def watch(event: str, arguments: Any) -> None:
    """Audit hook: remember what must not happen while a file is read."""
    if watching and (event in FORBIDDEN or (event == "import" and not str(arguments[0]).startswith("encodings"))):
        seen.append(f"{event} {arguments[0]}")


def as_zip(programme: bytes) -> bytes:
    """A torch zip around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", programme)
        archive.writestr("a/data/0", STORAGE)
        archive.writestr("a/data/1", STORAGE)
    return buffer.getvalue()


def as_legacy(programme: bytes) -> bytes:
    """A legacy file around a pickle."""
    start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    return start + programme + b"\x80\x02]X\x01\x00\x00\x000a." + struct.pack("<q", 6) + STORAGE


def as_safetensors(header: bytes) -> bytes:
    """A safetensors file around a header."""
    return struct.pack("<Q", len(header)) + header + STORAGE


WRAP: tuple[Callable[[bytes], bytes], ...] = (bytes, as_zip, as_legacy, as_safetensors)


def one_input(data: bytes) -> None:
    """Read one file. The first byte says what the rest is: a file, a pickle in a zip or a legacy file, a header."""
    from reid_audit.checkpoint.child import as_answer
    from reid_audit.checkpoint.limits import DEFAULT
    from reid_audit.checkpoint.read import read_layout
    from reid_audit.checkpoint.sniff import HEAD_BYTES, sniff
    from reid_audit.checkpoint.supervise import believed
    from reid_audit.errors import AuditError

    global watching
    if not data:
        return
    seen.clear()
    file = WRAP[data[0] % len(WRAP)](data[1:])
    started = time.process_time()
    watching = True
    try:
        layout = read_layout(io.BytesIO(file), file, sniff(file[:HEAD_BYTES], len(file)), DEFAULT)
    except AuditError as error:
        lines = error.lines()
        if error.exit_code not in (3, 5) or len(lines) != 3 or not all(x and x.isprintable() for x in lines):
            raise Finding(f"a refusal that is not three lines: {lines}") from error
    except MemoryError:
        pass
    else:
        if believed(json.loads(json.dumps(as_answer(layout))), len(file)) != layout:
            raise Finding("the parent would see something else than the child")
        load(file, layout)
    finally:
        watching = False
    if seen:
        raise Finding(f"the reader caused {seen}")
    if time.process_time() - started > SECONDS:
        raise Finding(f"{time.process_time() - started:.1f} s")


def load(file: bytes, layout: Any) -> None:
    """The parent's part: tensors of the places, all of them finite."""
    import torch

    from reid_audit.checkpoint.tensors import read_tensors
    from reid_audit.checkpoint.values import UNBOUNDED

    with tempfile.TemporaryFile() as stored:
        stored.write(file)
        stored.flush()
        tensors = read_tensors(stored.fileno(), layout.every)
    bounded = [t for key, t in tensors.items() if t.is_floating_point() and not UNBOUNDED.search(key)]
    if not all(bool(torch.isfinite(t).all()) for t in bounded):
        raise Finding("a tensor that is not finite")


def seeds() -> list[bytes]:
    """Inputs to start from: files that are read, and one that is refused, in all four shapes."""
    import numpy as np
    import torch

    state = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(6).double()[:2], "h": torch.ones(2).bfloat16()}
    buffer, old = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": state, "args": argparse.Namespace(path=Path("x"))}, buffer)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    programme = zipfile.ZipFile(buffer).read("archive/data.pkl")
    spec = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    header = json.dumps({"w": spec, "__metadata__": {"format": "pt"}}).encode()
    call = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x04true\x85R."
    arrays = {
        "w": np.arange(300, dtype=np.float32),
        "turned": np.ones((2, 3)).T,
        "n": np.float32(2),
        "t": np.array(["a"]),
    }
    layer = pickle.dumps({"layer": torch.nn.ReLU(), "partial": functools.partial(torch.nn.Linear, 3, bias=False)}, 2)
    plain = [pickle.dumps({"model": arrays}, protocol) for protocol in (2, 4, 5)]
    pickles = (programme, call, pickle.dumps({"a": (1, [2.5], b"x")}, 2), layer, *plain)
    files = (buffer.getvalue(), old.getvalue(), as_safetensors(header), *plain)
    return [*(b"\0" + f for f in files), *(bytes([k]) + p for k in (1, 2) for p in pickles), b"\3" + header]


WORDS = (
    b"\x93", b"\x94", b"h\x00", b"\x85R", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"(", b"t",
    b"u", b"}", b"]", b"a", b"Q", b".", b"K\xff", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\xff" * 8, b"b", b"\x81",
    b"cargparse\nNamespace\n", b'"shape":[0]', b"[[", b"18446744073709551615", b"-1", b'"F8_E5M2"', b"PK\x01\x02",
    b"PK\x03\x04", b"\xff\xff\xff\xff", b"\0\0\0\0",
)  # fmt: skip
"""Pieces that mean something to one of the formats."""


def mutated(data: bytes, pool: list[bytes], chance: random.Random) -> bytes:
    """``data`` with one to six places changed, cut, repeated, or replaced by a piece of another input."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, length = chance.randrange(len(found) + 1), chance.choice((1, 1, 2, 4, 8, 40))
        other = chance.choice(pool)
        start = chance.randrange(len(other))
        change = chance.randrange(6)
        if change == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            found[at : at + length] = chance.randbytes(length)
        elif change == 2:
            del found[at : at + length]
        elif change == 3:
            found[at:at] = found[at : at + length] * chance.choice((1, 2, 100))
        elif change == 4:
            found[at : at + length] = other[start : start + length]
        else:
            found[at:at] = chance.choice(WORDS)
    return bytes(found[:20_000]) or b"\0"


def random_run(seconds: float, seed: int, executions: int = sys.maxsize) -> tuple[int, list[tuple[bytes, str]]]:
    """Mutate until the time or the number is spent. Returns how many inputs ran, and those that broke a promise."""
    chance, pool, found = random.Random(seed), seeds(), list[tuple[bytes, str]]()
    for data in pool:
        one_input(data)
    stop, done = time.monotonic() + seconds, 0
    while done < executions and time.monotonic() < stop:
        data = mutated(chance.choice(pool), pool, chance)
        done += 1
        try:
            one_input(data)
        except Exception as error:  # any exception is a finding
            found.append((data, f"{type(error).__name__}: {error}"))
    return done, found


def instrumented() -> bool:
    """Import the reader so that atheris sees its branches; False where atheris is not installed."""
    try:
        import atheris
    except ImportError:
        return False
    with atheris.instrument_imports(include=["reid_audit"]):
        import reid_audit.checkpoint.child
        import reid_audit.checkpoint.values  # noqa: F401
    return True


def atheris_run(seconds: int, seed: int) -> None:
    """Coverage-guided; ends the process. A finding is printed by libFuzzer and gives a non-zero code."""
    import atheris

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        for i, data in enumerate(seeds()):
            (folder / "corpus" / str(i)).write_bytes(data)
        quoted = ["".join(rf"\x{byte:02x}" for byte in word) for word in WORDS]
        (folder / "words").write_text("".join(f'"{word}"\n' for word in quoted))
        limits = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=20000", "-timeout=20", "-rss_limit_mb=2048"]
        atheris.Setup(["fuzz", *limits, f"-dict={folder / 'words'}", str(folder / "corpus")], one_input)
        atheris.Fuzz()


def main() -> int:
    """Parse, choose the driver, say what ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--driver", choices=["auto", "atheris", "random"], default="auto")
    given = parser.parse_args()
    guided = given.driver != "random" and instrumented()
    if given.driver == "atheris" and not guided:
        parser.error("atheris is not installed: pip install 'reid-audit[fuzz]'")
    for data in seeds():  # whatever is imported late is imported now
        one_input(data)
    sys.addaudithook(watch)
    print(f"driver: {'atheris, guided by coverage' if guided else 'random mutations'}", flush=True)
    if guided:
        atheris_run(given.seconds, given.seed)
    done, found = random_run(given.seconds, given.seed)
    print(f"{done} executions in {given.seconds} s, {len(found)} findings")
    for data, why in found[:10]:
        print(f"{why}\n  {data[:400]!r}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
