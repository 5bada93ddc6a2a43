"""How many networks of the index are identified under each tolerance, and how long a lookup takes.

``python -m benchmarks.architectures [--sample N] [--seed S] [--out FILE]``. Works on names and shapes (meta tensors) of
the index itself; builds nothing. A hit is the entry itself, or one reported as equal in coverage (the same by shape),
with the number of classes and channels read rightly; or one that a doubt names. A network in which a change finds
nothing to change is not counted for it. One JSON line per network goes to ``--out``; networks that are
there already, for the same index, are not tried again. Every miss is listed.

``--forward N`` builds N networks of full size instead, identifies them and compares the outputs; those of more than
100 million parameters are only built and matched on the meta device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.lab.rewrites import TOLERANCES, State, Tolerance, published
from reid_audit.arch import identify, match
from reid_audit.arch.catalogue import Build, construct, construct_meta
from reid_audit.arch.index import INDEX_PATH, Entry, shipped
from reid_audit.errors import ArchitectureError

OUT = Path(__file__).parent / "out" / "architectures.jsonl"
AS_PUBLISHED = "as published"


def trial(entry: Entry) -> dict[str, Any]:
    """One line of the result: what went wrong under which tolerance, and the milliseconds of each lookup."""
    base = published(entry)
    wrong, milliseconds, same = {}, list[float](), list[str]()
    for name, tolerance in TOLERANCES.items():
        state = tolerance.change(base, entry)
        if name != AS_PUBLISHED and _unchanged(state, base):
            same.append(name)
            continue
        start = time.perf_counter()
        problem = _problem(state, entry, tolerance)
        milliseconds.append(round(1000 * (time.perf_counter() - start), 1))
        if problem:
            wrong[name] = problem
    return {"entry": f"{entry.library}/{entry.name}", "wrong": wrong, "ms": milliseconds, "unchanged": same}


def _unchanged(state: State, base: State) -> bool:
    """Whether a change found nothing to change: the network is not counted for it."""
    ordered = list(state) == list(base)
    return ordered and all(v.shape == base[k].shape and v.dtype == base[k].dtype for k, v in state.items())


def _problem(state: State, entry: Entry, tolerance: Tolerance) -> str:
    try:
        found = match(state)
    except ArchitectureError as error:
        return f"refused: {error.closest}"[:200]
    ties = {(c.library, c.name) for c in found.candidates if c.coverage >= found.coverage}
    if any(f" {entry.name} " in doubt for doubt in found.doubts):
        return ""
    if (entry.library, entry.name) not in {(found.library, found.name), *ties}:
        return f"taken for {found.library}/{found.name}"
    headed = any(
        state_key in entry.head for state_key in entry.head if len(shipped().described(entry)[state_key][0]) == 2
    )
    if tolerance.classes is not None and headed and found.classes != tolerance.classes:
        return f"{found.classes} classes read"
    if tolerance.channels is not None and entry.stem and found.channels != tolerance.channels:
        return f"{found.channels} channels read"
    return ""


def finished(path: Path, digest: str) -> Iterator[dict[str, Any]]:
    """Lines of an earlier run over the same index."""
    if path.exists():
        rows = (json.loads(line) for line in path.read_text().splitlines())
        for row in rows:
            tried = len(row["ms"]) + len(row.get("unchanged", ()))
            if row["index"] == digest and tried == len(TOLERANCES):
                yield row


def main() -> None:
    """Try what is not in the file yet, then print one line per tolerance and every miss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="entries to try; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forward", type=int, default=0, help="build and run this many instead")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    digest = hashlib.sha256(INDEX_PATH.read_bytes()).hexdigest()[:12]
    start = time.perf_counter()
    entries = list(shipped().entries)
    print(f"{len(entries)} networks, index read in {1000 * (time.perf_counter() - start):.0f} ms, {shipped().versions}")
    if arguments.forward:
        forward(random.Random(arguments.seed).sample(entries, min(arguments.forward, len(entries))))
        return
    if arguments.sample:
        entries = random.Random(arguments.seed).sample(entries, min(arguments.sample, len(entries)))
    done = {row["entry"]: row for row in finished(arguments.out, digest)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("a") as file:
        for entry in entries:
            if f"{entry.library}/{entry.name}" not in done:
                row = {"index": digest, **trial(entry)}
                done[row["entry"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
    summarise([done[f"{entry.library}/{entry.name}"] for entry in entries])


def round_trip(entry: Entry, largest: float = 1e8) -> str:
    """Build, identify by keys alone, run both; or match shapes only. Returns what was found."""
    size = sum(math.prod(shape) for shape, _ in shipped().described(entry).values())
    if size > largest:
        built = construct_meta(Build(entry.library, entry.name)).state_dict()
        problem = _problem({k: v.to("meta") for k, v in built.items()}, entry, Tolerance(lambda s, e: s))
        return problem or "same by shape (meta device)"
    module = construct(Build(entry.library, entry.name)).eval()
    target = identify(module.state_dict())
    images = torch.rand(1, 3, entry.side, entry.side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, given = module(images), target.module(images)
    wanted = wanted["out"] if isinstance(wanted, dict) else wanted
    gap = float((wanted - given).abs().max() / wanted.abs().max().clamp_min(1e-12))
    return "same output" if gap < 1e-3 else f"taken for {target.match.name}: outputs differ by {gap:.1%}"


def forward(entries: list[Entry]) -> None:
    """Round trips, one line each where something is to be said, and the count of each result."""
    counts: Counter[str] = Counter()
    for entry in entries:
        try:
            result = round_trip(entry)
        except (ArchitectureError, RuntimeError, TypeError, ValueError, AssertionError, AttributeError) as error:
            result = f"{type(error).__name__}: {error}"[:160].replace("\n", " ")
        counts[result if result.startswith("same") else "other"] += 1
        if not result.startswith("same"):
            print(f"{entry.library}/{entry.name}: {result}")
    print(dict(counts))


def summarise(rows: list[dict[str, Any]]) -> None:
    """The table."""
    misses: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name, problem in row["wrong"].items():
            misses[name].append(f"{row['entry']} ({problem})")
    for name in TOLERANCES:
        tried = sum(name not in row["unchanged"] for row in rows)
        share = 100 * (1 - len(misses[name]) / max(1, tried))
        print(f"{name:32s} {share:6.2f} % of {tried}  missed: {'; '.join(misses[name]) or 'none'}")
    every = [value for row in rows for value in row["ms"]]
    worst = statistics.quantiles(every, n=100)[-1]
    print(f"lookup: median {statistics.median(every):.1f} ms, 99th percentile {worst:.1f} ms")


if __name__ == "__main__":
    main()
