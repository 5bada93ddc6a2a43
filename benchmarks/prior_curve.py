"""Does every stage of a PGGAN's growth pay? 200 films at 32 px, a few CPU minutes, killed once in the middle.

    python -m benchmarks.prior_curve --data ../shared/data/nih_cxr14 --doc docs/prior-training.md

A child process trains under a budget of CPU seconds, gets SIGKILL after half of them and is started again with resume.
What the training keeps of each stage (side) is measured: as many samples as `holdout` films, at full resolution, in
one wavelet space fitted on all films of the `prior` split.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.lab.data import films
from benchmarks.lab.pages import put
from benchmarks.lab.yardstick import Yardstick
from reid_audit.artefacts.provenance import Declaration
from reid_audit.budget import Meter
from reid_audit.observer import Event
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.recipe import TrainRecipe
from reid_audit.prior.training import PRIOR_FILE, Training, train_pggan

SIDE, FILMS = 32, 200
STATE = "state.pt"
POLL = 5.0
"""Seconds between two looks at the child's state."""


class StageKeeper:
    """Copies the kept snapshot whenever it changed, one file a stage."""

    def __init__(self, run: Path) -> None:
        self.run, self.seen = run, 0

    def notice(self, _: Event) -> None:
        path = self.run / PRIOR_FILE
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if changed != self.seen:
            self.seen = changed
            shutil.copy(path, self.run / f"stage-{load_prior(path).card.side}.safetensors")


def train(data: Path, run: Path, seconds: float, seed: int) -> None:
    """The child: train, or go on, until ``seconds`` of CPU time are spent in all."""
    images, patients = films(data, "prior", SIDE)
    train_pggan(
        images[:FILMS],
        patients[:FILMS],
        Declaration("curve", ("NIH ChestX-ray14 (split: prior)",)),
        Training(
            run, Meter(seconds=seconds, steps=None, clock=time.process_time), observer=StageKeeper(run), resume=True
        ),
        generator=torch.Generator().manual_seed(seed),
        recipe=TrainRecipe(snapshot_every=20),
    )


def started() -> subprocess.Popen[bytes]:
    """The child process, with this process's options."""
    return subprocess.Popen([sys.executable, __file__, "--child", *sys.argv[1:]])


def state_of(run: Path) -> dict[str, Any]:
    """The training state on disk."""
    return dict(torch.load(run / STATE, weights_only=True, mmap=True))


def spent(run: Path) -> float:
    """CPU seconds of training up to the last snapshot."""
    return float(state_of(run)["spent"][1]) if (run / STATE).exists() else 0.0


def killed_once(options: argparse.Namespace) -> tuple[int, int]:
    """Train with one SIGKILL after half the budget. Returns the steps known then, and those at the end."""
    child = started()
    while child.poll() is None and spent(options.run) < options.seconds / 2:
        time.sleep(POLL)
    child.send_signal(signal.SIGKILL)
    if child.wait() != -signal.SIGKILL:
        raise SystemExit("the training ended before it could be killed")
    before = int(state_of(options.run)["steps"])
    if started().wait():
        raise SystemExit("the resumed training failed")
    return before, int(state_of(options.run)["steps"])


def table(options: argparse.Namespace, killed: int, steps: int) -> str:
    """Markdown: FID and KID stage by stage, and whether they fall."""
    yardstick = Yardstick.of(options.data, SIDE)
    lines = ["| stage | FID | KID |", "|---|---|---|"]
    fids = []
    for side in (4, 8, 16, 32):
        path = options.run / f"stage-{side}.safetensors"
        if not path.exists():
            raise SystemExit(f"no snapshot fell into the {side} px stage: give more --seconds")
        prior = load_prior(path)
        if not isinstance(prior, PgganPrior):
            raise TypeError("a stage holds another prior")
        fid, kid = yardstick.of_prior(prior, SIDE, options.seed)
        fids.append(fid)
        lines.append(f"| {side} px | {fid:.1f} | {kid:.3f} |")
    lines.append("| films of the prior split | {:.1f} | {:.3f} |".format(*yardstick.floor))
    falls = all(later < earlier for earlier, later in pairwise(fids))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = "falls from stage to stage" if falls else "does **not** fall at every stage"
    return "\n".join(lines) + (
        f"\n\nFID {said}. {steps} steps in {used.ru_utime + used.ru_stime:.0f} CPU seconds on one thread, seed "
        f"{options.seed}; killed with SIGKILL after half of the budget and resumed from step {killed}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("benchmarks/out/prior-curve"))
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU seconds of training.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doc", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        train(options.data, options.run, options.seconds, options.seed)
        return
    shutil.rmtree(options.run, ignore_errors=True)
    options.run.mkdir(parents=True)
    put(table(options, *killed_once(options)), options.doc, "curve")


if __name__ == "__main__":
    main()
