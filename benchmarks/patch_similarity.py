"""Would "patches as varied as in real images" lead an attack on a transformer towards films? docs/power.md.

    python benchmarks/patch_similarity.py --data ../shared/data/nih_cxr14 [--doc docs/power.md]

Data-free quantisation of ViTs asks generated images for a large entropy of the cosines between patch tokens at the
attention outputs: real photographs have it in networks trained on photographs, noise has not (Li et al., "Patch
similarity aware data-free quantization for vision transformers", ECCV 2022). As a term of the attack it would help only
if films, members above all, had a larger entropy than what the attack starts from. This measures whether they do.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pages import publish
from safetensors.torch import load_file
from targets import Bench, Target, weights_of
from torch import Tensor, nn
from torch.nn import functional
from training import SPEC

from reid_audit.arch.identify import identify
from reid_audit.preprocess import to_network

BANDWIDTH = 0.1
POINTS = 40
"""Where the density is evaluated: the middles of equal parts of -1 to 1, half a bandwidth wide."""
TARGETS = tuple(Target("vit_tiny_patch16_224", 64, members, 0) for members in (16, 0))


@contextmanager
def attention_outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect, in execution order, the tokens [N, T, D] that each self-attention gives."""
    seen: list[Tensor] = []
    handles = [
        layer.register_forward_hook(lambda _, __, output: seen.append(output))
        for layer in module.modules()
        if type(layer).__name__ == "Attention"
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def patch_entropy(tokens: Tensor) -> Tensor:
    """[N] differential entropy in nats of the density of cosines between the tokens [N, T, D] of each image.

    At most log 2, for cosines spread evenly over -1 to 1; lower the more alike they are.
    """
    unit = functional.normalize(tokens, dim=2)
    rows, columns = torch.triu_indices(unit.shape[1], unit.shape[1], offset=1)
    cosines = (unit @ unit.transpose(1, 2))[:, rows, columns]
    width = 2.0 / POINTS
    points = width * (torch.arange(POINTS) + 0.5) - 1.0
    share = torch.exp(-0.5 * ((points - cosines.unsqueeze(2)) / BANDWIDTH).square()).mean(1)
    density = share / (width * share.sum(1, keepdim=True))
    return -width * (density * density.clamp_min(1e-12).log()).sum(1)


def entropies(module: nn.Module, images: Tensor, channels: int) -> Tensor:
    """[N] entropy of each image, averaged over the attention layers."""
    with torch.no_grad(), attention_outputs(module) as layers:
        module(to_network(images, SPEC, channels))
    return torch.stack([patch_entropy(tokens) for tokens in layers]).mean(0)


def row(target: Target, bench: Bench, folder: Path) -> tuple[str, ...]:
    """Mean and deviation for films, members first, and for what an attack might start from."""
    network = identify(load_file(weights_of(target, bench, folder)), side=target.side)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        samples = bench.space.decode(bench.space.sample_latents(128, generator)).clamp(0.0, 1.0)
        still = bench.space.decode(0.3 * bench.space.sample_latents(128, generator)).clamp(0.0, 1.0)
    noise = torch.rand(samples.shape, generator=generator)
    kinds = (bench.members(target).images[:128], bench.holdout.images[:128], samples, still, noise)
    found = (entropies(network.module, images, network.match.channels) for images in kinds)
    return (target.name, *(f"{values.mean():.2f} ({values.std():.2f})" for values in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--targets", type=Path, default=Path("benchmarks/out/targets"))
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    bench = Bench.at(options.data, TARGETS[0].side)
    head = ("target", "members", "hold-out films", "prior samples", "the attack's start", "uniform noise")
    rows = [row(target, bench, options.targets) for target in TARGETS]
    publish(head, rows, options.doc, keys=1, mark="patches")
    print(f"entropy in nats, at most {math.log(2.0):.2f}: mean (standard deviation) over images")


if __name__ == "__main__":
    main()
