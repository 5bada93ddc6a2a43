"""What one pass over many films holds in memory: does it grow with the films?

    nice python -m benchmarks.passes [--networks resnet18 densenet121] [--films 50 100 200] [--doc docs/scale.md]

The pass is that of membership: statistics of every layer, and answers. Random weights, random films, one thread, one
process a case. ``grown`` is the largest resident set less that before the pass; ``needed`` is what it gives, the
statistics.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.lab.pages import Row, publish

HEAD = ("network", "films", "grown", "needed", "processor, a film")
MIB = 2**20


def one(network: str, side: int, films: int) -> Row:
    """A pass in this process."""
    import timm
    import torch

    from reid_audit.arch.identify import identify
    from reid_audit.budget import unhurried
    from reid_audit.network.reading import Inputs, read

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = timm.create_model(network, num_classes=2).train()
    with torch.no_grad():
        module(torch.rand(4, 3, 64, 64))
    target = identify(module.state_dict(), side=side)
    images = torch.rand(films, 1, side, side)
    inputs = Inputs(images, lambda part: part.expand(-1, target.match.channels, -1, -1))
    read(target, inputs.first(1), unhurried(), stage="warm")
    before, began = peak(), time.process_time()
    found = read(target, inputs, unhurried(), stage="pass")
    took = time.process_time() - began
    needed = sum(layer.first.nbytes + layer.second.nbytes for layer in found.moments)
    return (
        f"{network}, {side} px",
        str(films),
        f"{(peak() - before) / MIB:,.0f} MiB",
        f"{needed / MIB:,.0f} MiB",
        f"{1000 * took / films:.0f} ms",
    )


def peak() -> int:
    """Bytes of the largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "densenet121"])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--films", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--alone", action="store_true", help="one case, in this process, as JSON")
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(one(options.networks[0], options.side, options.films[0])))
        return
    rows: list[Row] = []
    for network in options.networks:
        for films in options.films:
            command = ["--alone", "--networks", network, "--side", str(options.side), "--films", str(films)]
            said = subprocess.run(
                [sys.executable, "-m", "benchmarks.passes", *command], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            rows.append(tuple(json.loads(said.splitlines()[-1])))
            print(" | ".join(rows[-1]), flush=True)
    publish(HEAD, rows, options.doc, keys=2, mark="passes")


if __name__ == "__main__":
    main()
