"""The re-identification encoder of an audit: read, identified and tried before anything is attacked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import Pace
from reid_audit.checkpoint import load_checkpoint
from reid_audit.errors import ArchitectureError
from reid_audit.memory import out_of_memory
from reid_audit.network.memory_layout import channels_last
from reid_audit.network.search import best_values
from reid_audit.preprocess import NAMED
from reid_audit.records import EncoderCard, EncoderPolicy, PreprocessSpec
from reid_audit.score.encoder import Encoder, embeddings_of
from reid_audit.score.similarity import fit_match_space, resized

FEWEST = 16
"""Outputs below which a network is taken for a classifier: they tell findings, not people."""
ASKED = 128
"""Images of the prior that say which grey values the encoder was trained on."""
TRIED, FITTED = 16, 256
"""Images of the prior that the encoder is tried on, and whose embeddings span its space."""
OTHERWISE = "give a network whose outputs are an embedding of a film, or leave --encoder out"


def encoder_of(
    request: AuditRequest, images: Tensor, audited: PreprocessSpec, device: torch.device, pace: Pace
) -> Encoder | None:
    """The encoder that the request names, tried on the prior's images [M, C, H, W]; None where it names none.

    The attack on a head takes its base for the encoder, which then sees films as the ``audited`` network does. Raises
    AuditError where the file cannot be read, is no known network, or gives no embedding.
    """
    policy = request.policy.encoder
    frozen = request.base if request.method == "embeddings" else None
    file = request.encoder or policy.checkpoint or frozen
    if file is None:
        return None
    checkpoint = load_checkpoint(file, pickled_code=request.policy.pickled_code)
    if file == frozen:
        policy = policy.model_copy(update={"side": policy.side or audited.side})
    target = identified(file, checkpoint.tensors, policy)
    target.module.to(device)
    side = target.match.side
    if file == frozen and policy.values == "infer":
        spec = audited
    else:
        spec = values_of(target, policy, resized(images[:ASKED], side), pace)
    card = EncoderCard(
        sha256=checkpoint.summary.sha256,
        architecture=target.match.name,
        library=target.match.library,
        side=side,
        channels=target.match.channels,
        dimensions=1,
    )
    return tried(file, Target(channels_last(target.module), target.match), (spec, card), images, pace)


def identified(file: Path, tensors: dict[str, Tensor], policy: EncoderPolicy) -> Target:
    """The network of the file. Raises ArchitectureError where it is not known, or ends in no embedding."""
    try:
        target = identify(tensors, side=policy.side)
    except ArchitectureError as error:
        raise ArchitectureError(
            f"the encoder {file.name} is no known network: {error.what}", closest=error.closest, remedy=OTHERWISE
        ) from error
    match = target.match
    if match.head == "segmentation":
        raise ArchitectureError(
            f"the encoder {file.name} gives masks, not one embedding for each film",
            closest=f"{match.name}, {match.head}",
            remedy=OTHERWISE,
        )
    if match.head != "features" and match.classes < FEWEST:
        raise ArchitectureError(
            f"the encoder {file.name} has {match.classes} outputs: answers, not an embedding",
            closest=f"{match.name} with {match.classes} outputs; an embedding has {FEWEST} or more",
            remedy="give it without its classifier, or give an encoder that was trained to tell people apart",
        )
    return target


def values_of(target: Target, policy: EncoderPolicy, images: Tensor, pace: Pace) -> PreprocessSpec:
    """The grey values of the encoder's training: as the policy says, or as its first statistics say of ``images``.

    Raises ArchitectureError where neither does, or the images have colours that it cannot take.
    """
    channels = images.shape[1]
    if channels not in (1, target.match.channels):
        raise ArchitectureError(
            f"the encoder takes films of {target.match.channels} channels, those of this audit have {channels}",
            closest=target.match.name,
            remedy=OTHERWISE,
        )
    if policy.values != "infer":
        return NAMED[policy.values]
    try:
        return best_values(target, PreprocessSpec(side=target.match.side), images, pace)
    except ValueError as error:
        raise ArchitectureError(
            "the encoder does not tell which grey values it was trained on",
            closest=f"{target.match.name}: {error}",
            remedy='say so in the policy: [encoder] values = "imagenet" (or unit, half, xrv)',
        ) from error


def tried(file: Path, target: Target, known: tuple[PreprocessSpec, EncoderCard], images: Tensor, pace: Pace) -> Encoder:
    """The encoder with the space that its embeddings of ``images`` span. known: its grey values and its card.

    Raises ArchitectureError where it tells no image from another, or cannot be run; a want of memory goes on up.
    """
    (spec, card), began = known, pace.meter.elapsed()
    try:
        few = embeddings_of(target.module, images[:TRIED], spec, card)
    except (RuntimeError, TypeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise ArchitectureError(
            f"the encoder {file.name} does not run on films of {card.side} px",
            closest=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            remedy="say the side it was trained with: [encoder] side = 224",
        ) from error
    seconds = (pace.meter.elapsed() - began) / len(few)
    if not bool(few.isfinite().all()) or float(few.std(dim=0).max()) < 1e-6:
        raise ArchitectureError(
            f"the encoder {file.name} says the same of every film",
            closest=f"{card.architecture} at {card.side} px, {few.shape[1]} outputs",
            remedy='check the file, and its grey values ([encoder] values = "imagenet")',
        )
    card = card.model_copy(update={"dimensions": few.shape[1]})
    embedded = embeddings_of(target.module, images[:FITTED], spec, card)
    return Encoder(target.module, spec, card, fit_match_space(embedded[:, :, None, None]), seconds)
