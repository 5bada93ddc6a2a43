"""How many networks of the index are identified under each tolerance, and how long a lookup takes.

``python benchmarks/architectures.py [--sample N] [--seed S]``. Works on shapes (meta tensors), builds nothing.
A hit is the entry itself or one reported as equal in coverage (the same by shape).
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from reid_audit.arch import match
from reid_audit.arch.index import Entry, shipped
from reid_audit.errors import ArchitectureError

State = dict[str, Tensor]


def grey(state: State, entry: Entry) -> State:
    """One input channel instead of three."""
    return {k: v[:, : max(1, v.shape[1] // 3)] if k in entry.stem and v.dim() > 1 else v for k, v in state.items()}


def shuffled(state: State, entry: Entry) -> State:
    """The same entries in another order."""
    keys = list(state)
    random.Random(entry.number).shuffle(keys)
    return {key: state[key] for key in keys}


def mlp_head(state: State, entry: Entry) -> State:
    """The head's module replaced by Sequential(Linear, ReLU, Linear)."""
    rest = {k: v for k, v in state.items() if k not in entry.head}
    if entry.head:
        path = entry.head[0].rpartition(".")[0]
        width = state[entry.head[0]].shape[1] if state[entry.head[0]].dim() > 1 else 8
        rest |= {f"{path}.0.weight": _empty((16, width)), f"{path}.2.weight": _empty((2, 16))}
    return rest


def _empty(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, device="meta")


TOLERANCES: dict[str, Callable[[State, Entry], State]] = {
    "as published": lambda s, e: s,
    "prefix a.b.c.": lambda s, e: {f"a.b.c.{k}": v for k, v in s.items()},
    "DDP, compiled": lambda s, e: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "other classes": lambda s, e: {k: v[:2] if k in e.head else v for k, v in s.items()},
    "1 channel": grey,
    "no head": lambda s, e: {k: v for k, v in s.items() if k not in e.head},
    "MLP head": mlp_head,
    "extra keys": lambda s, e: {**{f"net.{k}": v for k, v in s.items()}, "criterion.weight": _empty((3,))},
    "fp16": lambda s, e: {k: v.half() for k, v in s.items()},
    "shuffled": shuffled,
}


def main() -> None:
    """Print one line per tolerance and every miss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="entries to try; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    index = shipped()
    entries = list(index.entries)
    print(f"{len(entries)} networks, index loaded in {1000 * (time.perf_counter() - start):.0f} ms, {index.versions}")
    if arguments.sample:
        entries = random.Random(arguments.seed).sample(entries, min(arguments.sample, len(entries)))
    seconds: list[float] = []
    for name, change in TOLERANCES.items():
        missed = [entry.name for entry in entries if not _hit(entry, change, seconds)]
        share = 100 * (1 - len(missed) / len(entries))
        print(f"{name:16s} {share:6.2f} % of {len(entries)}  missed: {', '.join(missed) or 'none'}")
    print(f"median lookup {1000 * statistics.median(seconds):.1f} ms")


def _hit(entry: Entry, change: Callable[[State, Entry], State], seconds: list[float]) -> bool:
    state = change({k: _empty(shape) for k, (shape, _) in shipped().described(entry).items()}, entry)
    start = time.perf_counter()
    try:
        found = match(state)
    except ArchitectureError:
        return False
    finally:
        seconds.append(time.perf_counter() - start)
    ties = {c.name for c in found.candidates if c.coverage >= found.coverage}
    return entry.name == found.name or entry.name in ties


if __name__ == "__main__":
    main()
