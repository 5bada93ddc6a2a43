"""The quick tests as other machines would run them: ``make test-portable``, or ``python tests/portable.py [--list]``.

Processors without AVX-512, without AVX2 and FMA, one thread and two, 3 GB held by the test process, another locale,
time zone, width of the terminal and folder. Words after the options go to pytest instead of the quick tests.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SLOW = ("action", "audit", "benchmarks", "browser", "fuzz", "report")
"""Folders of whole audits, documents and browsers, which do no arithmetic of their own."""
PROGRAM = """
import sys, pytest
held = bytearray(int(sys.argv[1]) << 30)
held[::4096] = b"1" * len(held[::4096])
raise SystemExit(pytest.main(sys.argv[2:]))
"""
Environment = dict[str, str]


def processors() -> dict[str, Environment]:
    """What makes torch, numpy, their BLAS and the C library behave as on an older x86-64 processor than this one."""
    import numpy
    import torch

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return {"this processor": {}}
    known = torch.backends.cpu.get_cpu_capability()
    found = numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    wide = [name for name in found if name == "X86_V4" or name.startswith("AVX512")]
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "OPENBLAS_CORETYPE": "Nehalem",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX,-AVX512F,-AVX512VL,-AVX512BW",
    }
    avx2 = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(wide),
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    avx512 = {"ATEN_CPU_CAPABILITY": "avx512", "OPENBLAS_CORETYPE": "SkylakeX"}
    offered = {"no AVX": plain, "AVX2": avx2, "AVX-512": avx512}
    return {name: offered[name] for name in list(offered)[: 1 + ("DEFAULT", "AVX2", "AVX512").index(known)]}


def machines() -> dict[str, tuple[int, Environment]]:
    """Every machine by name: gigabytes that the test process holds, and its environment."""
    offered = processors()
    newest = list(offered)[-1]
    elsewhere = {"LC_ALL": "C", "TZ": "Pacific/Chatham", "COLUMNS": "60", "TERM": "dumb"}
    runs = {f"{name}, one thread": (0, {**given, "OMP_NUM_THREADS": "1"}) for name, given in offered.items()}
    runs[f"{newest}, two threads, 3 GB held"] = (3, {**offered[newest], "OMP_NUM_THREADS": "2"})
    runs["another locale, time zone and folder"] = (0, elsewhere)
    return runs


def tried(gigabytes: int, given: Environment, arguments: list[str]) -> int:
    """pytest's exit code in a process of its own, started in an empty folder."""
    command = [sys.executable, "-c", PROGRAM, str(gigabytes), "--rootdir", str(TESTS.parent), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, cwd=folder, env={**os.environ, **given}, check=False).returncode


def main() -> int:
    """Run the chosen machines one after the other; 1 where a test failed on any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the machines and stop")
    parser.add_argument("--only", action="append", metavar="TEXT", help="machines whose name holds this text")
    options, arguments = parser.parse_known_args()
    quick = [str(path) for path in sorted(TESTS.iterdir()) if path.name.startswith("test_") or is_quick(path)]
    chosen = {k: v for k, v in machines().items() if not options.only or any(text in k for text in options.only)}
    codes = {}
    for name, (gigabytes, given) in chosen.items():
        print(f"== {name}", *(f"{key}={value}" for key, value in given.items()), flush=True)
        began = time.monotonic()
        codes[name] = 0 if options.list else tried(gigabytes, given, arguments or quick)
        print(f"== {name}: exit {codes[name]}, {time.monotonic() - began:.0f} s", flush=True)
    return int(any(codes.values()))


def is_quick(path: Path) -> bool:
    """A folder of tests that is not slow."""
    return path.is_dir() and path.name not in SLOW and any(path.glob("test_*.py"))


if __name__ == "__main__":
    raise SystemExit(main())
