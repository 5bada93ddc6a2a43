"""What waiting threads cost: steps of an attack beside idle and busy processors. docs/performance.md from processes.

    python -m benchmarks.threads [--rounds 5] [--doc docs/performance.md]

A step is the forward and backward pass of a ResNet-18 with respect to four images. Each case is a process of its own,
as libraries read how threads wait when they are loaded; cases take turns, and the middle of the rounds counts. A busy
processor is one that a loop in another process uses.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.lab.pages import Row, publish

HEAD = ("images", "threads", "other processors", "asleep (`passive`), ms", "in a loop (`active`), ms")
SIDES = (32, 224)
IMAGES = 4
SECONDS = 3.0
"""How long a case steps."""
WAITING = ("passive", "active")


def steps(side: int) -> float:
    """Milliseconds of a step in this process, the mean of ``SECONDS``."""
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    images = torch.rand(IMAGES, 3, side, side, requires_grad=True)

    def step() -> None:
        network(images).square().sum().backward()

    step()  # the first one allocates
    began, done = perf_counter(), 0
    while perf_counter() - began < SECONDS:
        step()
        done += 1
    return 1000.0 * (perf_counter() - began) / done


@contextmanager
def busy() -> Iterator[None]:
    """A process that loops."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def measured(side: int, threads: int, loops: int, waiting: str) -> float:
    """``steps`` in a process with so many threads, beside so many that loop."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": waiting}
    command = [sys.executable, "-m", "benchmarks.threads", "--one", str(side)]
    with ExitStack() as others:
        for _ in range(loops):
            others.enter_context(busy())
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def rows(rounds: int) -> list[Row]:
    """One row for each size of the images, number of threads and number of busy processors."""
    every = len(os.sched_getaffinity(0))
    cases = list(product(SIDES, sorted({1, every}), (0, 1)))
    found: dict[tuple[tuple[int, int, int], str], list[float]] = {}
    for _, case, waiting in product(range(rounds), cases, WAITING):
        found.setdefault((case, waiting), []).append(measured(*case, waiting))
    return [
        (
            f"{IMAGES} of {side} px",
            f"{threads} of {every}",
            f"{loops} busy" if loops else "idle",
            *(f"{median(found[(side, threads, loops), waiting]):.3g}" for waiting in WAITING),
        )
        for side, threads, loops in cases
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--doc", type=Path)
    parser.add_argument("--one", type=int, metavar="SIDE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is None:
        publish(HEAD, rows(options.rounds), options.doc, keys=3, mark="threads")
    else:
        print(steps(options.one))


if __name__ == "__main__":
    main()
