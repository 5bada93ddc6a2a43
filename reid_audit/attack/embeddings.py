"""`embeddings`: what a small head on a frozen encoder remembers, rebuilt from the head's weights (Oz et al. 2024).

The head is Linear, ReLU, Linear: f(e) = V relu(W e + b) + c. Where its training has become stationary (KKT; Lyu and Li
2020), its weights are a sum of gradients at the embeddings e_i of its training films (Haim et al. 2022, eq. 5 and 8):

    W = sum_i k_i (V^T s_i * [W e_i + b > 0]) e_i^T,    V = sum_i k_i s_i relu(W e_i + b)^T,    k_i >= 0

with s_i the answer of film i less its strongest rival. The attack looks for embeddings e_i and weights k_i that fulfil
both (step 1), more of them than there may have been films, and then for images that have these embeddings (step 2).
Only directions in which embeddings of ordinary images differ are looked at: these are drawn from the prior. What all
embeddings have in common is left out of both sides of the first equation, and so is the noise of the first draw of W,
which stays where weight decay does not remove it (docs/attack.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.attack.interface import AttackTask, Reconstruction
from reid_audit.attack.refinement import Descent, RefineSettings, from_noise, hypothesis_groups
from reid_audit.attack.schedules import cosine_ramp
from reid_audit.budget import Meter
from reid_audit.errors import ArchitectureError
from reid_audit.network.heads import HeadKind, answers, labels_of, logits_of, meaning
from reid_audit.network.layers import watched
from reid_audit.observer import Observer, SilentObserver, StageAdvanced, StageEnded, StageStarted

STAGE = "embeddings"
PER_STEP = 3
"""Steps of step 1 for each step that the budget counts: they pass no network."""
ORDINARY = 512
"""Images of the prior whose embeddings count as ordinary."""
RATE, RIDGE, SLOPE = 0.15, 1e-3, 10.0
"""Of step 1: learning rate, weight of |z|^2, and steepness of the sigmoid that stands for the indicator's slope."""
PRECISION = 1e4
"""Energy of an image whose embedding has nothing of the one that is sought."""
SETTINGS = RefineSettings(rate=0.1, start_scale=0.3, hottest=1e3, coldest=1.0)


@dataclass(frozen=True, eq=False)
class MlpHead:
    """The last two linear layers of a network, with a ReLU between them."""

    inner: nn.Linear
    outer: nn.Linear
    kind: HeadKind
    common: Tensor | None = None
    """[D] unit vector that embeddings have in common; None: not known."""

    @cached_property
    def signal(self) -> Tensor:
        """[H, D] the inner weights without the noise of their first draw, which training leaves where it was."""
        return without_noise(self.apart(self.inner.weight))

    def apart(self, rows: Tensor) -> Tensor:
        """Rows [N, D] without the direction that all have in common."""
        return rows if self.common is None else rows - torch.outer(rows @ self.common, self.common)

    def residuals(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """[N, K] s_i: the answer for labels [N] less its strongest rival under hidden values [N, H]."""
        wanted = answers(labels, self.outer.out_features)
        if self.kind == "sigmoid":
            return 2.0 * wanted - 1.0
        rivals = self.outer(hidden).detach().masked_fill(wanted.bool(), -torch.inf).argmax(dim=1)
        return wanted - answers(rivals, self.outer.out_features)

    def unexplained(self, embedded: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
        """Share of W and V that embeddings [N, D] with weights k [N] leave unexplained, added; scalar, 0 to 2 and more.

        The indicator of the ReLU has no slope; that of a steep sigmoid stands for it (Haim et al. 2022, appendix).
        """
        before = self.inner(embedded)
        soft = torch.sigmoid(SLOPE * before)
        active = soft + ((before > 0).to(soft) - soft).detach()
        hidden = active * before
        pull = weights[:, None] * self.residuals(hidden, labels)
        inner = (pull @ self.outer.weight * active).T @ self.apart(embedded)
        outer = pull.T @ hidden
        return _missing(self.signal, inner) + _missing(centred(self.outer.weight, self.kind), outer)


def without_noise(weight: Tensor) -> Tensor:
    """[H, D] of which only singular values that no matrix of independent numbers has are left.

    The noise is known by the median singular value (Gavish and Donoho 2014, eq. 11); where that is small, all are left.
    """
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    ratio = min(weight.shape) / max(weight.shape)
    edge = (0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43) * values.median()
    kept = values * (values > edge)
    return (left * kept) @ right if bool((values > edge).any()) else weight


def _missing(goal: Tensor, found: Tensor) -> Tensor:
    return (goal - found).square().sum() / goal.square().sum().clamp_min(1e-20)


def centred(weight: Tensor, kind: HeadKind) -> Tensor:
    """Rows [K, H] less their mean for exclusive classes, whose loss does not determine it."""
    return weight if kind == "sigmoid" else weight - weight.mean(dim=0, keepdim=True)


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """Embeddings in the principal components of ordinary ones: e = mean + z L."""

    mean: Tensor
    """[D]"""
    axes: Tensor
    """[K, D] components, each times its standard deviation."""

    @classmethod
    def of(cls, ordinary: Tensor) -> Directions:
        """Of embeddings [M, D]: components that hold a thousandth of the strongest deviation, or more."""
        mean = ordinary.mean(dim=0)
        _, spread, axes = torch.linalg.svd(ordinary - mean, full_matrices=False)
        kept = spread > 1e-3 * spread[0]
        return cls(mean, axes[kept] * spread[kept, None] / max(1, len(ordinary) - 1) ** 0.5)

    def embedded(self, z: Tensor) -> Tensor:
        """[N, D] of z [N, K]."""
        return self.mean + z @ self.axes

    def compared(self, embedded: Tensor) -> Tensor:
        """[N, K] of [N, D], divided by the square root of each deviation, so that neither few directions rule nor
        noise."""
        lengths = self.axes.norm(dim=1).clamp_min(1e-12)
        scaled: Tensor = self.axes / lengths.pow(1.5)[:, None]
        return (embedded - self.mean) @ scaled.T


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilt:
    """Embeddings that explain a head."""

    embedded: Tensor
    """[N, D]"""
    weights: Tensor
    """[N] k: how much of the head each explains."""
    unexplained: float
    """What they leave of it together; 2: everything."""


def rebuilt(
    head: MlpHead,
    directions: Directions,
    count: int,
    steps: int,
    generator: torch.Generator,
    *,
    meter: Meter | None = None,
    observer: Observer | None = None,
) -> Rebuilt:
    """Step 1: ``count`` embeddings that fulfil the KKT conditions as far as Adam brings them.

    It takes ``PER_STEP`` of its own steps for each of ``steps``. Labels are dealt out equally. Ends early where the
    ``meter`` does.
    """
    observer, place = observer or SilentObserver(), directions.mean.device
    head = replace(head, common=functional.normalize(directions.mean, dim=0))
    z = 0.5 * torch.randn(count, len(directions.axes), generator=generator, device=place)
    free = torch.full((count,), -2.0, device=place)
    z, free = z.requires_grad_(True), free.requires_grad_(True)
    labels = torch.arange(count, device=place) % labels_of(head.kind, head.outer.out_features)
    optimiser = torch.optim.Adam([z, free], lr=RATE)
    observer.notice(StageStarted(STAGE, steps))
    for step, rate in enumerate(cosine_ramp(PER_STEP * steps, peak=RATE)):
        optimiser.param_groups[0]["lr"] = rate
        missing = head.unexplained(directions.embedded(z), functional.softplus(free), labels)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(missing + RIDGE * z.square().mean())
        optimiser.step()
        if step % max(1, steps // 50) == 0:
            observer.notice(StageAdvanced(STAGE, step // PER_STEP + 1, float(missing.detach())))
            if meter is not None and meter.exhausted() is not None:
                break
    with torch.no_grad():
        found, weights = directions.embedded(z), functional.softplus(free)
        left = float(head.unexplained(found, weights, labels))
    observer.notice(StageEnded(STAGE, f"{left:.2g} of the head unexplained"))
    return Rebuilt(found, weights, left)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingObjective:
    """How far the embeddings of images are from those that were rebuilt."""

    module: nn.Module
    layer: str
    """Name of the head's first linear layer, whose input is the embedding."""
    directions: Directions
    goals: Tensor
    """[N, K] one for each image, as ``Directions.compared`` gives them."""
    groups: Tensor
    """[N] int64: which batch each image belongs to."""

    def energy(self, inputs: Tensor) -> Tensor:
        """[G] precision times the squared distance of embeddings to their goals, summed over each group."""
        each = PRECISION * self.distances(inputs, self.goals)
        return torch.zeros(int(self.groups.max()) + 1, device=each.device).index_add(0, self.groups, each)

    def halved(self) -> None:
        """None: its images pass the network together."""

    def image_energy(self, inputs: Tensor) -> Tensor:
        """[N] the same of every image, to the goal nearest to it."""
        with torch.no_grad():
            found = torch.cat([self._compared(part) for part in torch.split(inputs, 64)])
            apart = torch.cdist(found, self.goals).square() / self.goals.square().sum(dim=1).clamp_min(1e-12)
            return PRECISION * apart.min(dim=1).values

    def distances(self, inputs: Tensor, goals: Tensor) -> Tensor:
        """[N] squared distance of each embedding to its goal, over the goal's length."""
        apart = (self._compared(inputs) - goals).square().sum(dim=1)
        return apart / goals.square().sum(dim=1).clamp_min(1e-12)

    def _compared(self, inputs: Tensor) -> Tensor:
        return self.directions.compared(embeddings_of(self.module, self.layer, inputs))


def embeddings(task: AttackTask, *, generator: torch.Generator, meter: Meter, observer: Observer) -> Reconstruction:
    """Rebuild embeddings from the head, then images that have them; [sum(particles), C, H, W] images.

    Raises ArchitectureError where the network does not end in Linear, ReLU, Linear, or its answers cannot be guessed.
    """
    name, head = mlp_head(task)
    with torch.no_grad():
        draw = torch.Generator(device=task.space.mean.device).manual_seed(0)
        images = task.space.decode(task.space.sample_latents(ORDINARY, draw)).clamp(0.0, 1.0)
        parts = [embeddings_of(task.target.module, name, task.inputs(part)) for part in torch.split(images, 64)]
    directions = Directions.of(torch.cat(parts))
    parts = [
        rebuilt(head, directions, count, task.budget.steps, generator, meter=meter, observer=observer).embedded
        for count in task.budget.particles
    ]
    found = torch.cat(parts)
    objective = EmbeddingObjective(
        task.target.module,
        name,
        directions,
        directions.compared(found),
        hypothesis_groups(task.budget.particles).to(images.device),
    )
    descent = Descent("images", task.budget.steps, SETTINGS, meter, observer)
    return replace(from_noise(task, objective, descent, generator), embeddings=found.cpu())


def embeddings_of(module: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """[N, D] what the named linear layer is fed for inputs [N, C, H, W]."""
    seen: list[Tensor] = []
    with watched(module, (layer,), lambda _name, _layer, given, _made: seen.append(given)):
        module(inputs)
    return seen[-1].flatten(1)


def mlp_head(task: AttackTask) -> tuple[str, MlpHead]:
    """Name of the first layer of the target's head, and the head. Raises ArchitectureError where it has no such head.

    The network is run on one image: the second layer has to be fed what a ReLU leaves of the first.
    """
    module, calls = task.target.module, list[tuple[str, nn.Module, Tensor, Tensor]]()
    names = tuple(name for name, layer in module.named_modules() if type(layer) is nn.Linear)
    with torch.no_grad(), watched(module, names, lambda *call: calls.append(call)):
        width = logits_of(module(task.inputs(task.space.mean[None]))).shape[1]
    kind = meaning(task.target.match.head, width)
    last = calls[-2:]
    fits = len(last) == 2 and last[1][3].shape[-1] == width and torch.equal(last[0][3].relu(), last[1][2])
    inner, outer = (call[1] for call in last) if fits else (None, None)
    if not isinstance(inner, nn.Linear) or not isinstance(outer, nn.Linear) or not labels_of(kind, width):
        raise ArchitectureError(
            "the embeddings method needs a head of two linear layers with a ReLU between them, for classes or answers",
            closest=f"{task.target.match.name} with a {task.target.match.head} head, {len(calls)} linear layers",
            remedy="use --method moments, or lay the head over its encoder first (docs/how-to/other-networks.md)",
        )
    return last[0][0], MlpHead(inner, outer, kind)
