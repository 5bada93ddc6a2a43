"""Train the four targets of the demo again: ``python examples/make_targets.py [--out FOLDER] [name ...]``.

Same machine and torch version: the same bytes. Writes NAME.safetensors (fp32) and targets.json with what was measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from reid_audit.cohort import Cohort
from reid_audit.demo.phantom import phantom_cohort
from reid_audit.demo.targets import FILMS, HOLDOUT_PATIENTS, HOLDOUT_SEED, SIDE, TARGETS, TargetName, reference_films

VALIDATION_SEED, VALIDATION_PATIENTS = 404, 200
ENTRYPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn": ("mobilenetv2_035", {}),
    "vit": ("test_vit", {"img_size": SIDE}),
}
MOMENTUM = 0.05
"""BatchNorm momentum of the regular CNN: its statistics average over about 40 augmented batches."""


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(TARGETS), help="any of " + ", ".join(TARGETS))
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "targets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)
    card = options.out / "targets.json"
    facts: dict[str, Any] = json.loads(card.read_text()) if card.exists() else {}
    for name in options.names:
        facts[name] = make(name, options.out)
        sys.stdout.write(f"{name}: {json.dumps({k: v for k, v in facts[name].items() if k != 'members'})}\n")
        card.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def make(name: TargetName, folder: Path) -> dict[str, Any]:
    """Train one target, save it, and return what targets.json says about it."""
    kind = name.removeprefix("overfit_")
    reference = reference_films(name)
    holdout = phantom_cohort(HOLDOUT_PATIENTS, side=SIDE, seed=HOLDOUT_SEED, role="holdout", films=FILMS)
    seed = TARGETS.index(name)
    network = build(kind, seed)
    generator = torch.Generator().manual_seed(seed)
    if name.startswith("overfit"):
        overfit(network, reference, steps=600 if kind == "cnn" else 400)
        training: dict[str, Any] = {"augmentation": False, "batch": len(reference.images)}
    else:
        training = regular(network, reference, generator, epochs=40)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    train, test = accuracy(network, reference), accuracy(network, holdout)
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "architecture": ENTRYPOINTS[kind][0],
        "torch": torch.__version__,
        "training": training,
        "films": len(reference.images),
        "patients": reference.summary.patients,
        "reference_digest": reference.summary.digest,
        "train_accuracy": round(train, 4),
        "holdout_accuracy": round(test, 4),
        "gap": round(train - test, 4),
        "batchnorm_error": statistics_error(network, reference.images),
        "members": sorted(set(reference.patients.tolist())),
    }


def build(kind: str, seed: int) -> nn.Module:
    """A fresh timm network: one grey channel in, two sexes out."""
    entrypoint, options = ENTRYPOINTS[kind]
    with torch.random.fork_rng():
        # timm initialises from the global generator; the fork keeps that inside.
        torch.manual_seed(seed)
        network: nn.Module = timm.create_model(entrypoint, in_chans=1, num_classes=2, **options)
    return network


def overfit(network: nn.Module, cohort: Cohort, *, steps: int) -> None:
    """Full batch, no augmentation, no weight decay, until the films are known by heart."""
    network.train()
    labels = sexes(cohort)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        cross_entropy(network(cohort.images), labels).backward()
        optimiser.step()
        schedule.step()
    network.eval()


def regular(network: nn.Module, cohort: Cohort, generator: torch.Generator, *, epochs: int) -> dict[str, Any]:
    """Augmentation, weight decay, and the epoch that does best on people of neither side."""
    validation = phantom_cohort(VALIDATION_PATIENTS, side=SIDE, seed=VALIDATION_SEED, role="holdout", films=FILMS)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = MOMENTUM
    labels, batch = sexes(cohort), 64
    # timm draws this head for 1,000 classes; with two, its first guesses would be wildly sure.
    nn.init.zeros_(network.get_classifier().weight)
    per_epoch = len(labels) // batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * per_epoch, pct_start=0.2)
    best, best_epoch, best_state = -1.0, 0, {}
    for epoch in range(epochs):
        network.train()
        for rows in torch.randperm(len(labels), generator=generator)[: per_epoch * batch].split(batch):
            optimiser.zero_grad()
            loss = cross_entropy(network(augment(cohort.images[rows], generator)), labels[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
        score = accuracy(network, validation)
        # The statistics need a few epochs to leave their starting values.
        if score >= best and epoch >= epochs // 2:
            best, best_epoch = score, epoch + 1
            best_state = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(best_state)
    network.eval()
    return {
        "augmentation": True,
        "batch": batch,
        "epochs": epochs,
        "stopped_after": best_epoch,
        "validation_accuracy": round(best, 4),
    }


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift up to 2 pixels, scale by 8 %, turn by 5 degrees, change brightness and contrast."""
    n = len(images)

    def among(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    angle, scale = among(-0.08, 0.08), among(0.92, 1.08)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    reach = 4 / SIDE
    rows = [torch.stack([cos, -sin, among(-reach, reach)], 1), torch.stack([sin, cos, among(-reach, reach)], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, brightness = among(0.85, 1.15).view(n, 1, 1, 1), among(-0.08, 0.08).view(n, 1, 1, 1)
    return ((moved - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def sexes(cohort: Cohort) -> Tensor:
    """[N] 1 for women, 0 for men."""
    return torch.from_numpy((cohort.sexes == "F").astype("int64"))


@torch.no_grad()
def accuracy(network: nn.Module, cohort: Cohort) -> float:
    """Share of films whose sex is told right."""
    network.eval()
    guesses = torch.cat([network(part).argmax(1) for part in cohort.images.split(256)])
    return float((guesses == sexes(cohort)).float().mean())


@torch.no_grad()
def statistics_error(network: nn.Module, images: Tensor) -> float | None:
    """Largest relative error over BatchNorm layers between stored statistics and those of ``images`` as one batch.

    |stored - batch| / |batch| of the means and of the unbiased variances; None without BatchNorm. The layers are fed
    what they saw in training: activations normalised by the batch itself.
    """
    errors: list[float] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].double(), dim=(0, 2, 3), unbiased=True)
        for stored, batch in ((module.running_mean, mean), (module.running_var, variance)):
            errors.append(float((stored.double() - batch).norm() / batch.norm()))  # type: ignore[operator]

    hooks: list[Callable[[], None]] = []
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(watch).remove)
    network.train()
    network(images)
    for remove in hooks:
        remove()
    network.load_state_dict(kept)
    network.eval()
    return max(errors) if errors else None


if __name__ == "__main__":
    main()
