"""Energy of the true training films of the demo's overfit CNN, with and without the biased-variance correction.

python -m benchmarks.correction
"""

from __future__ import annotations

import torch

from reid_audit.arch.identify import identify
from reid_audit.attack.metric import isotropic
from reid_audit.attack.objectives import group_weights, moment_energy
from reid_audit.attack.schedules import noise_floors
from reid_audit.checkpoint import load_checkpoint
from reid_audit.demo.targets import SPEC, demo_case
from reid_audit.network.batchnorm import image_moments
from reid_audit.preprocess import to_network


def main() -> None:
    case = demo_case("overfit_cnn")
    target = identify(load_checkpoint(case.checkpoint).tensors, side=SPEC.side)
    inputs = to_network(case.reference.images, SPEC, target.match.channels)
    count = len(inputs)
    weights = group_weights(torch.zeros(count, dtype=torch.int64))
    for name, batches in (("naive", None), ("corrected", torch.full((count,), float(count)))):
        layers = image_moments(target.module, inputs, batches=batches)
        metrics = isotropic(noise_floors(len(layers)), layers)
        print(f"{name}: {float(moment_energy(layers, weights, metrics)):.4g}")


if __name__ == "__main__":
    main()
