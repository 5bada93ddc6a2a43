"""How many networks of the index are identified under each tolerance, and how long a lookup takes.

``python -m benchmarks.architectures [--sample N] [--seed S] [--out FILE]``. Works on names and shapes (meta tensors) of
the index itself; builds nothing. A hit is the entry itself, or one reported as equal in coverage (the same by shape),
with the number of classes and channels read rightly. One JSON line per network goes to ``--out``; networks that are
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid_audit.arch import identify, match
from reid_audit.arch.catalogue import Build, construct, construct_meta
from reid_audit.arch.index import INDEX_PATH, Entry, shipped
from reid_audit.errors import ArchitectureError

State = dict[str, Tensor]
OUT = Path(__file__).parent / "out" / "architectures.jsonl"
LORA_LAYERS = 8


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One change people make to a state_dict, and what must be read off it afterwards."""

    change: Callable[[State, Entry], State]
    classes: int | None = None
    channels: int | None = None


def published(entry: Entry) -> State:
    """The network's own names and shapes, with batch counters where there are running statistics."""
    state = {}
    for key, (shape, _) in shipped().described(entry).items():
        state[key] = _empty(shape)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = torch.empty((), dtype=torch.long, device="meta")
    return state


def _empty(shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, device="meta")


def channels(count: int) -> Callable[[State, Entry], State]:
    """``count`` input channels instead of the published number."""

    def change(state: State, entry: Entry) -> State:
        stems = {k: state[k] for k in entry.stem if state[k].dim() > 1}
        resized = {k: _empty((v.shape[0], v.shape[1] * count // 3, *v.shape[2:])) for k, v in stems.items()}
        return {**state, **resized}

    return change


def shuffled(state: State, entry: Entry) -> State:
    """The same entries in another order."""
    keys = list(state)
    random.Random(entry.number).shuffle(keys)
    return {key: state[key] for key in keys}


def headless(state: State, entry: Entry) -> State:
    """The head's module is an Identity."""
    return {k: v for k, v in state.items() if k not in entry.head}


def head_of(*layers: str) -> Callable[[State, Entry], State]:
    """The head's module replaced by a Sequential with linear ``layers`` at these positions, two outputs."""

    def change(state: State, entry: Entry) -> State:
        wide = next((k for k in entry.head if state[k].dim() == 2), None)
        if wide is None:
            return {**state}
        path, width = wide.rpartition(".")[0], int(state[wide].shape[1])
        new: State = {}
        for number, layer in enumerate(layers):
            out = 2 if number == len(layers) - 1 else 16
            new |= {f"{path}.{layer}.weight": _empty((out, width)), f"{path}.{layer}.bias": _empty((out,))}
            width = out
        return headless(state, entry) | new

    return change


def classes(state: State, entry: Entry) -> State:
    """Two outputs instead of the published number."""
    return {k: _empty((2, *v.shape[1:])) if k in entry.head else v for k, v in state.items()}


def matrices(state: State, entry: Entry) -> list[str]:
    """Weights of linear and convolution layers outside head and stem."""
    special = {*entry.head, *entry.stem}
    return [k for k, v in state.items() if k.endswith(".weight") and v.dim() >= 2 and k not in special]


def reparametrised(
    parts: Callable[[str, Tensor], dict[str, Tensor]],
) -> Callable[[State, Entry], State]:
    """Every third weight of a linear or convolution layer replaced by ``parts`` of its path and value."""

    def change(state: State, entry: Entry) -> State:
        chosen = set(matrices(state, entry)[::3])
        done: State = {}
        for key, value in state.items():
            done |= parts(key.removesuffix(".weight"), value) if key in chosen else {key: value}
        return done

    return change


def _gain(value: Tensor) -> Tensor:
    return _empty((value.shape[0], *(1 for _ in value.shape[1:])))


def _vectors(value: Tensor) -> tuple[Tensor, Tensor]:
    return _empty((value.shape[0],)), _empty((value[0].numel(),))


def weight_norm(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.weight_norm``."""
    return {f"{path}.weight_g": _gain(value), f"{path}.weight_v": value}


def weight_norm_new(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.parametrizations.weight_norm``."""
    stem = f"{path}.parametrizations.weight.original"
    return {f"{stem}0": _gain(value), f"{stem}1": value}


def spectral_norm(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.spectral_norm``."""
    left, right = _vectors(value)
    return {f"{path}.weight_orig": value, f"{path}.weight_u": left, f"{path}.weight_v": right}


def spectral_norm_new(path: str, value: Tensor) -> dict[str, Tensor]:
    """``torch.nn.utils.parametrizations.spectral_norm``."""
    left, right = _vectors(value)
    stem = f"{path}.parametrizations.weight"
    return {f"{stem}.original": value, f"{stem}.0._u": left, f"{stem}.0._v": right}


def lora(state: State, entry: Entry) -> State:
    """Adapters of rank 4, unmerged, as peft saves them."""
    linear = [k for k in matrices(state, entry) if state[k].dim() == 2]
    chosen = {k.removesuffix(".weight") for k in linear[:LORA_LAYERS]}
    done: State = {}
    for key, value in state.items():
        path, _, leaf = key.rpartition(".")
        done[f"{path}.base_layer.{leaf}" if path in chosen else key] = value
        if path in chosen and leaf == "weight":
            done[f"{path}.lora_A.default.weight"] = _empty((4, value.shape[1]))
            done[f"{path}.lora_B.default.weight"] = _empty((value.shape[0], 4))
    return prefixed("base_model.model.")(done, entry)


def prefixed(*prefixes: str) -> Callable[[State, Entry], State]:
    """Every key under each of ``prefixes``."""
    return lambda state, entry: {f"{prefix}{k}": v for prefix in prefixes for k, v in state.items()}


def cast(dtype: torch.dtype) -> Callable[[State, Entry], State]:
    """Floating values in another precision."""
    return lambda state, entry: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


def no_counters(state: State, entry: Entry) -> State:
    """Without num_batches_tracked."""
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def extra(state: State, entry: Entry) -> State:
    """A criterion and profiler counters beside the network."""
    return {**prefixed("net.")(state, entry), "criterion.weight": _empty((3,)), "net.total_ops": _empty((1,))}


def together(state: State, entry: Entry) -> State:
    """Prefix, one channel, two classes, half precision, no counters, extra keys and another order at once."""
    for change in (channels(1), classes, no_counters, extra, cast(torch.float16), shuffled):
        state = change(state, entry)
    return state


TOLERANCES: dict[str, Tolerance] = {
    "as published": Tolerance(lambda s, e: s),
    "prefix a.b.c.": Tolerance(prefixed("a.b.c.")),
    "DDP, compiled": Tolerance(prefixed("module._orig_mod.")),
    "EMA copy beside": Tolerance(prefixed("model.", "model_ema.module.")),
    "2 classes": Tolerance(classes, classes=2),
    "1 channel": Tolerance(channels(1), channels=1),
    "2 channels": Tolerance(channels(2), channels=2),
    "4 channels": Tolerance(channels(4), channels=4),
    "no head": Tolerance(headless, classes=0),
    "dropout + linear": Tolerance(head_of("1"), classes=2),
    "MLP head": Tolerance(head_of("0", "2"), classes=2),
    "extra keys": Tolerance(extra),
    "fp16": Tolerance(cast(torch.float16)),
    "bf16": Tolerance(cast(torch.bfloat16)),
    "no counters": Tolerance(no_counters),
    "shuffled": Tolerance(shuffled),
    "LoRA, merged": Tolerance(prefixed("base_model.model.")),
    "LoRA, unmerged": Tolerance(lora),
    "weight norm": Tolerance(reparametrised(weight_norm)),
    "weight norm, new": Tolerance(reparametrised(weight_norm_new)),
    "spectral norm": Tolerance(reparametrised(spectral_norm)),
    "spectral norm, new": Tolerance(reparametrised(spectral_norm_new)),
    "all at once": Tolerance(together, classes=2, channels=1),
}


def trial(entry: Entry) -> dict[str, Any]:
    """One line of the result: what went wrong under which tolerance, and the milliseconds of each lookup."""
    base = published(entry)
    wrong, milliseconds = {}, []
    for name, tolerance in TOLERANCES.items():
        state = tolerance.change(base, entry)
        start = time.perf_counter()
        problem = _problem(state, entry, tolerance)
        milliseconds.append(round(1000 * (time.perf_counter() - start), 1))
        if problem:
            wrong[name] = problem
    return {"entry": f"{entry.library}/{entry.name}", "wrong": wrong, "ms": milliseconds}


def _problem(state: State, entry: Entry, tolerance: Tolerance) -> str:
    try:
        found = match(state)
    except ArchitectureError as error:
        return f"refused: {error.closest}"[:200]
    ties = {(c.library, c.name) for c in found.candidates if c.coverage >= found.coverage}
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
        yield from (row for row in rows if row["index"] == digest and len(row["ms"]) == len(TOLERANCES))


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
        share = 100 * (1 - len(misses[name]) / len(rows))
        print(f"{name:18s} {share:6.2f} % of {len(rows)}  missed: {'; '.join(misses[name]) or 'none'}")
    every = [value for row in rows for value in row["ms"]]
    worst = statistics.quantiles(every, n=100)[-1]
    print(f"lookup: median {statistics.median(every):.1f} ms, 99th percentile {worst:.1f} ms")


if __name__ == "__main__":
    main()
