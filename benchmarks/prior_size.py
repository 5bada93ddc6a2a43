"""What does a larger generator buy? The compact widths and twice as many channels at 32 px, the same CPU seconds.

python -m benchmarks.prior_size --data ../shared/data/nih_cxr14 --doc docs/prior-training.md
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.lab.data import films
from benchmarks.lab.pages import put
from benchmarks.lab.yardstick import Yardstick
from reid_audit.artefacts.provenance import Declaration
from reid_audit.budget import Meter
from reid_audit.prior.pggan import WIDTHS, PgganPrior, forward_flops
from reid_audit.prior.recipe import TrainRecipe
from reid_audit.prior.training import Training, train_pggan

SIDE = 32


def trained(data: Path, out: Path, factor: int, seconds: float, seed: int) -> tuple[PgganPrior, int]:
    """The best snapshot with ``factor`` times the compact widths, and the step it was kept at or before."""
    images, patients = films(data, "prior", SIDE)
    recipe = TrainRecipe(widths=tuple(factor * width for width in WIDTHS[SIDE]), snapshot_every=20)
    made = train_pggan(
        images,
        patients,
        Declaration(f"size-{factor}", ("NIH ChestX-ray14 (split: prior)",)),
        Training(out / str(factor), Meter(seconds=seconds, steps=None, clock=time.process_time)),
        generator=torch.Generator().manual_seed(seed),
        recipe=recipe,
    )
    return made.prior, made.curve[-1].step


@torch.no_grad()
def forward_seconds(prior: PgganPrior, batch: int = 64) -> float:
    """CPU seconds of one image, best of five batches."""
    latents = prior.sample_latents(batch, torch.Generator().manual_seed(0))
    taken = []
    for _ in range(5):
        began = time.process_time()
        prior.decode(latents)
        taken.append(time.process_time() - began)
    return min(taken) / batch


def table(options: argparse.Namespace) -> str:
    """Markdown, one line a size."""
    yardstick = Yardstick.of(options.data, SIDE)
    lines = ["| widths | GFLOP a forward | ms a forward | steps | FID | KID |", "|---|---|---|---|---|---|"]
    for factor in (1, 2):
        prior, steps = trained(options.data, options.run, factor, options.seconds, options.seed)
        fid, kid = yardstick.of_prior(prior, SIDE, options.seed)
        widths = prior.network.widths
        lines.append(
            f"| {', '.join(map(str, widths))} | {forward_flops(widths, prior.latent_dim) / 1e9:.3f} |"
            f" {1e3 * forward_seconds(prior):.2f} | {steps} | {fid:.1f} | {kid:.3f} |"
        )
    lines.append("| films of the prior split | | | | {:.1f} | {:.3f} |".format(*yardstick.floor))
    return "\n".join(lines) + f"\n\n{options.seconds:.0f} CPU seconds each on one thread, seed {options.seed}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("benchmarks/out/prior-size"))
    parser.add_argument("--seconds", type=float, default=180.0, help="CPU seconds of training for each size.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    put(table(options), options.doc, "size")


if __name__ == "__main__":
    main()
