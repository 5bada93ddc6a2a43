"""`gradient`: images whose own gradients span the way from a public base to the audited weights.

Fine-tuning moves the weights by a sum of c_i J_i over the training images i, where J_i is the gradient of the network's
answer for image i and c_i is the sum of its residuals over all steps. The attack solves for c, so it needs to know
neither the number of steps, nor the rates, nor the labels. The gradients of all images have much in common, so only the
part that gradients of ordinary images, drawn from the prior, do not explain is compared. Gradients change along the way
from base to network; they are taken a quarter of the way, where those of members explained most (docs/tuning.md).

Related work: Geiping et al. 2020, who match the one gradient of a known step by its cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.refinement import Descent, RefineSettings, from_noise, hypothesis_groups
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.network.difference import Displacement, displacement
from reid_audit.network.heads import HeadKind, answers, labels_of, logits_of, meaning, residual
from reid_audit.network.layers import inputs_of, matrix_layers, outputs_of, watched
from reid_audit.observer import Observer

PRECISION = 1e4
"""Energy of a batch of images whose gradients explain none of the displacement."""
SHARE = 0.25
"""Where gradients are taken on the way from the base (0) to the network (1)."""
WEIGHTS = 300_000
"""Gradients are compared in the first layers that moved, up to this many weights (never fewer than one layer)."""
ORDINARY = 256
"""Images of the prior whose gradients count as ordinary."""
RIDGE = 1e-3
"""Ridge on the Gram matrix of the ordinary gradients, as a share of their mean squared length."""
DOUBT = 0.3
"""Ridge on the coefficients c of a batch, whose gradients have length one: it keeps the difference of two nearly equal
images from explaining anything."""
SETTINGS = RefineSettings(start_scale=1.0, hottest=3.0, coldest=0.3, jitter=0.5)


@dataclass(frozen=True, slots=True, eq=False)
class ImageGradients:
    """Gradients of single images' answers with respect to the weights of some layers, at one point of the path."""

    module: nn.Module
    parameters: dict[str, Tensor]
    layers: tuple[str, ...]
    kind: HeadKind
    width: int
    """How many outputs the network has."""

    def of(self, inputs: Tensor, labels: Tensor, *, differentiable: bool = False) -> Tensor:
        """[N, P] gradients of the answers for inputs [N, C, H, W], each along its residual, scaled to length one.

        The residual is the wanted answer for ``labels`` [N] less the network's own (heads.py).
        """
        calls: dict[str, tuple[nn.Module, Tensor, Tensor]] = {}

        def keep(name: str, layer: nn.Module, given: Tensor, made: Tensor) -> None:
            calls[name] = (layer, given, made)

        if not inputs.requires_grad:
            inputs = inputs.detach().requires_grad_(True)
        fused_has_no_second_derivative = sdpa_kernel(SDPBackend.MATH)
        with torch.enable_grad(), fused_has_no_second_derivative, watched(self.module, self.layers, keep):
            logits = logits_of(functional_call(self.module, self.parameters, (inputs,)))
            wrong = residual(self.kind, logits.detach().double(), answers(labels, self.width))
            towards = functional.normalize(wrong, dim=1).to(logits)
            backward = torch.autograd.grad(
                (towards * logits).sum(), [calls[name][2] for name in self.layers], create_graph=differentiable
            )
        parts = []
        for name, slope in zip(self.layers, backward, strict=True):
            layer, given, _ = calls[name]
            product = torch.einsum("npo,npd->nod", outputs_of(layer, slope), inputs_of(layer, given))
            parts.append(product.flatten(1))
        found = torch.cat(parts, dim=1)
        return found if differentiable else found.detach()


@dataclass(frozen=True, slots=True, eq=False)
class Beyond:
    """Compares gradients with the displacement in what ordinary gradients leave unexplained of both.

    What is left is the Schur complement of the ordinary gradients' Gram matrix.
    """

    ordinary: Tensor
    """[M, P] gradients of ordinary images."""
    factor: Tensor
    """[M, M] Cholesky factor of their Gram matrix with ``RIDGE``."""
    goal: Tensor
    """[P] the displacement of the weights."""
    known: Tensor
    """[M] coefficients with which the ordinary gradients explain the goal."""
    left: Tensor
    """Squared length of the part of the goal that the ordinary gradients leave unexplained."""

    @classmethod
    def of(cls, ordinary: Tensor, goal: Tensor) -> Beyond:
        """What gradients [M, P] of ordinary images leave of the goal [P], by ridge regression."""
        gram = ordinary @ ordinary.T
        ridge = RIDGE * gram.diagonal().mean().clamp_min(1e-12)
        factor = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), device=gram.device))
        along = ordinary @ goal
        known = torch.cholesky_solve(along[:, None], factor)[:, 0]
        left = (goal @ goal - along @ known).clamp_min(1e-20)
        return cls(ordinary, factor, goal, known, left)

    def explained(self, gradients: Tensor) -> Tensor:
        """Share of what is left of the goal that a batch's gradients [N, P] explain together; scalar, 0 to 1."""
        gram, along = self.remaining(gradients)
        gram = gram + DOUBT * torch.eye(len(gram), device=gram.device)
        share: Tensor = along @ torch.linalg.solve(gram, along)
        return share

    def each(self, gradients: Tensor) -> Tensor:
        """[N] share that each image's gradient explains alone, 0 to 1."""
        return self.remaining(gradients)[1].square() / (1.0 + DOUBT)

    def remaining(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines [N, N] of gradients [N, P] with each other, and [N] with the goal, beyond the ordinary gradients."""
        common = gradients @ self.ordinary.T
        gram = gradients @ gradients.T - common @ torch.cholesky_solve(common.T, self.factor)
        along = gradients @ self.goal - common @ self.known
        lengths = gram.diagonal().clamp_min(1e-20).sqrt()
        return gram / (lengths[:, None] * lengths), along / (lengths * self.left.sqrt())


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceObjective:
    """The share of the displacement that the gradients of a batch leave unexplained, times ``PRECISION``."""

    gradients: ImageGradients
    beyond: Beyond
    groups: Tensor
    """[N] int64: which batch each image belongs to."""
    labels: Tensor
    """[N] int64 label each particle stands for."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] precision times the share of the goal that the gradients of each group of images leave unexplained."""
        found = self.gradients.of(inputs, self.labels, differentiable=True)
        shares = [self.beyond.explained(found[self.groups == g]) for g in range(int(self.groups.max()) + 1)]
        return PRECISION * (1.0 - torch.stack(shares))

    def halved(self) -> None:
        """None: its images pass the network together."""

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] energy of every image alone, under the label with which its gradient explains most."""
        best = torch.zeros(len(inputs), device=inputs.device)
        for label in range(min(labels_of(self.gradients.kind, self.gradients.width), 8)):
            for rows in torch.split(torch.arange(len(inputs), device=inputs.device), 32):
                labels = torch.full((len(rows),), label, device=inputs.device)
                shares = self.beyond.each(self.gradients.of(inputs[rows], labels))
                best[rows] = torch.maximum(best[rows], shares)
        return PRECISION * (1.0 - best)


def gradient(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """Reconstruct in the full-rank space; [sum(particles), C, H, W] images.

    Raises ArchitectureError without a base, for a head whose labels cannot be guessed, and where no layer that can tell
    has moved.
    """
    if task.base is None:
        raise ArchitectureError(
            "the gradient method compares the checkpoint with the weights it was fine-tuned from",
            closest="no base was given",
            remedy="give the public weights with --base FILE, or use --method moments",
        )
    if not labels_of(task.target.match.head, 1):
        raise ArchitectureError(
            "the gradient method needs a head with classes, or with yes/no answers",
            closest=f"a {task.target.match.head} head, whose labels cannot be guessed",
            remedy="use --method moments, or state what the outputs mean with --head",
        )
    objective = difference_objective(task, displacement(task.target, task.base))
    return from_noise(task, objective, Descent("gradient", task.budget.steps, SETTINGS, meter, observer), generator)


def difference_objective(task: AttackTask, path: Displacement) -> DifferenceObjective:
    """The objective over the task's hypotheses about the batch size.

    Raises ArchitectureError where fine-tuning moved no layer that images pass one by one.
    """
    probe = task.inputs(task.space.mean[None])
    layers = first_layers(path, matrix_layers(path.module, probe))
    if not layers:
        raise ArchitectureError(
            "fine-tuning moved no linear or convolutional layer that images pass one by one",
            closest=f"{len(path.moved)} parameters moved",
            remedy="use --method moments, or give the weights that training started from with --base",
        )
    with torch.no_grad():
        width = logits_of(path.module(probe)).shape[1]
    kind = meaning(task.target.match.head, width)
    gradients = ImageGradients(path.module, path.at(SHARE), layers, kind, width)
    groups = hypothesis_groups(task.budget.particles).to(probe.device)
    labels = torch.arange(max(ORDINARY, len(groups)), device=probe.device) % labels_of(kind, width)
    draw = torch.Generator(device=probe.device).manual_seed(0)
    with torch.no_grad():
        images = task.space.decode(task.space.sample_latents(ORDINARY, draw)).clamp(0.0, 1.0)
    ordinary = [
        gradients.of(task.inputs(images[rows]), labels[rows])
        for rows in torch.split(torch.arange(ORDINARY, device=probe.device), 32)
    ]
    goal = torch.cat([path.moved[f"{name}.weight"].flatten() for name in layers])
    return DifferenceObjective(gradients, Beyond.of(torch.cat(ordinary), goal), groups, labels[: len(groups)])


def first_layers(path: Displacement, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names``, in order of execution, that moved: the first of them, up to ``WEIGHTS`` weights in all."""
    chosen: list[str] = []
    total = 0
    for name in names:
        step = path.moved.get(f"{name}.weight")
        if step is None:
            continue
        total += step.numel()
        if chosen and total > WEIGHTS:
            break
        chosen.append(name)
    return tuple(chosen)
