"""From a request to everything the arms start from: checkpoint, network, preprocessing, prior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.preprocessing import infer_preprocess
from reid_audit.audit.request import AuditRequest, Films, Frame
from reid_audit.checkpoint import Checkpoint, load_checkpoint
from reid_audit.cohort import Cohort
from reid_audit.errors import PriorError
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.loading import load_prior, shipped_prior
from reid_audit.prior.provenance import Origin, origin_of
from reid_audit.prior.resampling import prior_at
from reid_audit.records import PreprocessSpec

PreprocessBy = Literal["policy", "statistics", "default"]
SAMPLES = 1024
"""Samples drawn from a prior file where its images are not at hand: they span the match space."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The state of an audit before the first arm."""

    checkpoint: Checkpoint
    task: AttackTask
    device: torch.device
    prior_films: Tensor
    """[M, C, side, side] on the CPU: the prior's images, or samples of it."""
    prior_cohort: Cohort | None
    """The prior's films with ages and sexes, where they were given."""
    prior_origin: Origin | None
    """What is known of the prior's training images, for the comparison with the cohorts."""
    preprocess_by: PreprocessBy

    @property
    def frame(self) -> Frame:
        """How films have to be delivered to match the network."""
        return Frame(self.task.preprocess, self.task.space.card.side, self.task.space.card.channels)


def prepare(request: AuditRequest, films: Films) -> Setup:
    """Load, identify, choose preprocessing, fit or load the prior. Raises AuditError subclasses."""
    checkpoint = load_checkpoint(request.checkpoint)
    declared = request.policy.preprocess.declared
    target = identify(
        checkpoint.tensors,
        name=request.architecture,
        factory=request.factory,
        side=(declared.side if declared is not None else None) or request.policy.preprocess.side,
    )
    spatial = declared or PreprocessSpec()
    side = target.match.side
    prior, cohort, origin = _prior(request, films, Frame(spatial, side, 1))
    images = cohort.images if cohort is not None else _samples(prior, request.seed)
    spec, by = _preprocess(target, declared, images)
    device = _device(request.device)
    task = AttackTask(
        target=replace(target, module=target.module.to(device)),
        prior=prior.to(device),
        space=_space(prior, images, request.seed).to(device),
        preprocess=spec.model_copy(update={"side": side}),
        budget=request.policy.budget,
    )
    return Setup(checkpoint, task, device, images, cohort, origin, by)


def _prior(request: AuditRequest, films: Films, frame: Frame) -> tuple[Prior, Cohort | None, Origin | None]:
    if request.prior is not None:
        loaded = load_prior(request.prior)
        return prior_at(loaded, frame.side), None, getattr(loaded, "origin", None)
    if films.prior is None:
        loaded = shipped_prior(frame.side)
        return loaded, None, getattr(getattr(loaded, "inner", loaded), "origin", None)
    given = films.prior(frame)
    generator = torch.Generator().manual_seed(request.seed)
    origin = origin_of(given.cohort.images, given.cohort.patients.tolist())
    fitted = fit_gaussian(
        given.cohort.images,
        name=given.declared,
        declared=(given.declared,),
        licence=given.licence,
        patients=given.cohort.summary.patients,
        generator=generator,
    )
    return fitted, given.cohort, origin


def _samples(prior: Prior, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return torch.cat([prior.decode(prior.sample_latents(64, generator)) for _ in range(SAMPLES // 64)]).clamp(0, 1)


def _space(prior: Prior, images: Tensor, seed: int) -> GaussianPrior:
    """The full-rank space: the prior itself where it is Gaussian at this side, else a fit to its images."""
    if isinstance(prior, GaussianPrior):
        return prior
    card = prior.card
    return fit_gaussian(
        images,
        name=f"{card.id}-full-rank",
        declared=card.declared_training_sets,
        licence=card.licence,
        patients=card.patients,
        generator=torch.Generator().manual_seed(seed),
        augment=1,
    )


def _preprocess(target: Target, declared: PreprocessSpec | None, images: Tensor) -> tuple[PreprocessSpec, PreprocessBy]:
    if declared is not None:
        return declared, "policy"
    found = infer_preprocess(target, images[:64])
    return (found, "statistics") if found is not None else (PreprocessSpec(mean=(0.5,), std=(0.5,)), "default")


def _device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PriorError(
            "--device cuda was asked for, but no CUDA device is usable here",
            closest="cpu",
            remedy="use --device auto or cpu, or install a torch build for this machine's GPU",
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
