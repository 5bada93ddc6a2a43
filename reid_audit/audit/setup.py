"""From a request to everything the attack runs start from: checkpoint, network, preprocessing, prior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from reid_audit.arch.beside import config_beside
from reid_audit.arch.identify import identify
from reid_audit.arch.leftovers import apart
from reid_audit.arch.outputs import output_of
from reid_audit.arch.target import Target
from reid_audit.artefacts.provenance import Declaration, Origin, origin_of
from reid_audit.attack.interface import AttackTask
from reid_audit.attack.likelihood import holds_images, nothing_to_ask
from reid_audit.audit.encoder import encoder_of
from reid_audit.audit.predictors import loaded_predictors
from reid_audit.audit.preprocessing import (
    Asked,
    Chosen,
    Specimens,
    ask_network,
    choose_preprocessing,
    drawn,
    left_open,
)
from reid_audit.audit.request import AuditRequest, Films, Naming, PriorChoice
from reid_audit.budget import Pace
from reid_audit.checkpoint import Checkpoint, load_checkpoint
from reid_audit.cohort import Cohort, Frame
from reid_audit.device import usable_device
from reid_audit.errors import ArchitectureError, PriorError
from reid_audit.network.answers import outputs_under
from reid_audit.network.batchnorm import mark_inherited, statistics_layers
from reid_audit.network.difference import displacement
from reid_audit.network.heads import independent
from reid_audit.network.memory_layout import channels_last
from reid_audit.network.search import FEW, STAGE, count_at
from reid_audit.observer import StageEnded, StageStarted
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.interface import Prior
from reid_audit.prior.loading import load_prior, shipped_prior
from reid_audit.prior.patient_file import beside, read_patient_file
from reid_audit.prior.pggan import PgganPrior
from reid_audit.prior.resampling import prior_at
from reid_audit.records import ArchMatch, Policy, PriorCard
from reid_audit.score.encoder import Encoder
from reid_audit.score.predictors import Predictors

Head = Literal["softmax", "sigmoid", "regression"]
SAMPLES = 1024
"""Samples drawn from a prior file where its images are not at hand: they span the match space."""
FINDINGS = (
    "outputs are taken for independent findings (sigmoid): they do not share what one class gains; --head decides"
)
SEARCH = 0.2
"""Share of the time left that the search for the preprocessing may take."""
UNFINISHED = 2.0
"""How many times its share a search that was cut off is taken to need."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The state of an audit before the first attack run."""

    checkpoint: Checkpoint
    task: AttackTask
    device: torch.device
    prior_images: Tensor
    """[M, C, side, side] on the CPU: the prior's images, or samples of it."""
    prior_cohort: Cohort | None
    """The prior's films with ages and sexes, where they were given."""
    prior_origin: Origin | None
    """What is known of the prior's training images, for the comparison with the cohorts."""
    preprocessing: Chosen
    """The preprocessing in use, where it comes from, and what the network says of it."""
    predictors: Predictors | None = None
    """What reads age and sex, where it is not fitted on the prior's films."""
    base: Checkpoint | None = None
    """The file with the network before fine-tuning, where one was given."""
    encoder: Encoder | None = None
    """What tells people apart by their films, where one was given."""

    @property
    def frame(self) -> Frame:
        """How films have to be delivered to match the network."""
        return Frame(self.task.preprocess, self.task.space.card.side, self.task.space.card.channels)


def prepare(request: AuditRequest, films: Films, pace: Pace, checkpoint: Checkpoint | None = None) -> Setup:
    """Load (where no ``checkpoint`` is given), identify, choose preprocessing, fit or load the prior.

    Raises AuditError subclasses.
    """
    checkpoint = checkpoint or load_checkpoint(request.checkpoint, pickled_code=request.policy.pickled_code)
    target = as_stated(target_of(checkpoint, request.naming, request.checkpoint), request.policy.head)
    device = usable_device(request.device)
    target = replace(target, module=laid_out(target.module.to(device)))
    base = None if request.base is None else load_checkpoint(request.base, pickled_code=request.policy.pickled_code)
    if base is not None:
        target = without_inherited(target, _identified(base, request.naming, request.base))
    choice, seen = request.prior_choice, drawn(target, request.policy.preprocess.declared, films)
    stored = stored_prior(choice, films)
    if stored is not None:
        require_colours(stored.card, 1 if seen is None else seen.channels)
    chosen = _preprocessing(target, request.policy, seen, pace)
    target = replace(target, match=with_side(target.match, chosen))
    if request.policy.head is None:
        target = replace(target, match=answered_head(target, chosen, seen))
    side = target.match.side
    prior, cohort, origin = prior_of(choice, stored, films, Frame(chosen.spec, side, chosen.channels))
    images = cohort.images if cohort is not None else samples_of(prior, choice.seed)
    shipped = choice.is_shipped(films)
    task = AttackTask(
        target=target,
        prior=prior.to(device),
        space=_space(prior, images, choice.seed, shipped=shipped).to(device),
        preprocess=chosen.spec,
        budget=request.policy.budget,
        base=None if base is None else _base(base, replace(request.naming, side=side), request.base, target),
    )
    require_something(task)
    return Setup(
        checkpoint=checkpoint,
        task=task,
        device=device,
        prior_images=images,
        prior_cohort=cohort,
        prior_origin=origin,
        preprocessing=chosen,
        predictors=loaded_predictors(request.predictor, request.policy.demographics, chest=shipped),
        base=base,
        encoder=encoder_of(request, images, chosen.spec.model_copy(update={"side": side}), device, pace),
    )


def require_something(task: AttackTask) -> None:
    """Raise ArchitectureError where neither images can be rebuilt from the weights nor films recognised by what the
    network says of them: masks, or embeddings."""
    target = task.target
    if holds_images(target) or target.match.head == "segmentation":
        return
    with torch.no_grad():
        said = target.module(task.inputs(task.space.mean[None]))
    if target.match.head != "features" or not isinstance(said, Tensor) or said.dim() != 2:
        raise nothing_to_ask(target.match)


def laid_out(module: nn.Module) -> nn.Module:
    """``module`` with its kernels as the attack runs them fastest.

    The order of sums depends on it, so it is done once, before anybody computes: an audit that took its attack over
    from an earlier run would otherwise train the planted copy differently, from the seventh digit on.
    """
    return channels_last(module) if statistics_layers(module) else module


def _preprocessing(target: Target, policy: Policy, seen: Specimens | None, pace: Pace) -> Chosen:
    """The preprocessing, searched in its share of the time with the films ``seen``.

    Where all of it is declared, and the policy leaves the control out that would hold it against the search, there is
    none.
    """
    stated = policy.preprocess
    if not policy.controls.preprocess_fit and not left_open(stated):
        return choose_preprocessing(target, stated, Asked(seen))
    share = replace(pace, meter=pace.meter.share(SEARCH))
    pace.observer.notice(StageStarted(STAGE, expected=share.meter.seconds))
    asked = ask_network(target, stated.declared, seen, share)
    chosen = choose_preprocessing(target, stated, asked, share)
    kept = kept_for_control(chosen, chosen.spec.side or target.match.side, share.meter.elapsed())
    pace.observer.notice(StageEnded(STAGE, f"{chosen.spec.side} px, by {chosen.by}"))
    return replace(chosen, seconds=kept if policy.controls.preprocess_fit else 0.0)


def kept_for_control(chosen: Chosen, side: int, searched: float) -> float:
    """Seconds that the control of the preprocessing keeps after a search of ``searched`` seconds.

    Its own search has to end, or there is no PASS: where the audit's was cut off, it is given more.
    """
    cut = chosen.fit is None or not chosen.fit.complete
    return control_to_search(side) * searched * (UNFINISHED if cut else 1.0)


def control_to_search(side: int) -> float:
    """Time of the control of the preprocessing over that of the search at so many pixels: it searches once more and
    asks membership. Measured: 0.9 at 32 and 64 px, 1.0 at 128, 1.9 at 224 (docs/scale.md)."""
    return 1.0 + (side / 224) ** 3


def with_side(match: ArchMatch, chosen: Chosen) -> ArchMatch:
    """``match`` at the side of the preprocessing, and where that comes from."""
    if chosen.spec.side in (None, match.side):
        return match
    return match.model_copy(update={"side": chosen.spec.side, "side_by": "statistics"})


def target_of(checkpoint: Checkpoint, naming: Naming, file: Path) -> Target:
    """The network of ``checkpoint``, read from ``file``; tensors apart from it there are a doubt.

    Raises ArchitectureError.
    """
    target = _identified(checkpoint, naming, file)
    return replace(target, match=apart(target.match, checkpoint.summary.apart))


def as_stated(target: Target, head: Head | None) -> Target:
    """``target`` with the meaning of its outputs as the policy states it, where it does.

    Raises ArchitectureError without a head, and where a constructor of the user's own turns its answers into
    probabilities: a probability of no is no uncertain answer, and none is below zero. A number may end in any way.
    """
    match = target.match if head is None else stated_head(target.match, head)
    if match.by == "factory" and match.classes and head != "regression":
        squashed = output_of(target.module, match.channels, match.side).squashed
        if squashed is not None:
            raise ArchitectureError(
                "the network of --arch-factory gives probabilities, membership compares the answers before them",
                closest=f"{match.name} ends in a {squashed}",
                remedy="put torch.nn.Identity() in the place of its last activation, which has no weights, or state "
                "--head regression where the network was taught numbers between 0 and 1",
            )
    return replace(target, match=match)


def stated_head(match: ArchMatch, head: Head) -> ArchMatch:
    """``match`` with the meaning of its outputs as the policy states it. Raises ArchitectureError without a head."""
    if match.head in ("features", "segmentation"):
        raise ArchitectureError(
            f"the policy states a {head} head, but the network has none",
            closest=f"{match.name}: {match.head}",
            remedy="leave --head and the policy's head out, or give the checkpoint with its classifier",
        )
    return match.model_copy(update={"head": head})


def answered_head(target: Target, chosen: Chosen, seen: Specimens | None) -> ArchMatch:
    """The match of ``target``, whose classes are findings where its answers to the films ``seen`` look so."""
    match = target.match
    if seen is None or match.head != "softmax":
        return match
    outputs = outputs_under(target, seen.at(chosen.spec, count_at(chosen.spec, FEW)), chosen.spec)
    if outputs is None or not independent(outputs):
        return match
    return match.model_copy(update={"head": "sigmoid", "evidence": (*match.evidence, FINDINGS)})


def _identified(checkpoint: Checkpoint, naming: Naming, file: Path | None) -> Target:
    config = None if file is None else config_beside(file)
    name, factory = naming.architecture, naming.factory
    return identify(checkpoint.tensors, name=name, factory=factory, side=naming.side, config=config)


def without_inherited(target: Target, base: Target) -> Target:
    """``target`` whose statistics that came with ``base``, unchanged, count as none: they are of other films.

    An encoder that was frozen in training keeps them; a reconstruction, planted patients and a PASS that rest on them
    would say nothing of the films that trained the head.
    """
    inherited = mark_inherited(target.module, base.module)
    if not inherited:
        return target
    own, untouched = target.match.data_statistics - inherited, target.match.untouched_statistics + inherited
    changes: dict[str, object] = {
        "data_statistics": own,
        "untouched_statistics": untouched,
        "evidence": (*target.match.evidence, f"{inherited} stored statistics are those of --base: left out"),
    }
    return replace(target, match=target.match.model_copy(update=changes))


def _base(base: Checkpoint, naming: Naming, file: Path | None, target: Target) -> Target | None:
    """The network before fine-tuning, on the target's device; None where all that both have was frozen.

    Raises ArchitectureError where it is another one.
    """
    found = _identified(base, naming, file)
    if not displacement(target, found).moved:
        return None
    return replace(found, module=found.module.to(next(target.module.parameters()).device))


def stored_prior(choice: PriorChoice, films: Films) -> Prior | None:
    """A given file's prior or the shipped one, as it is stored; None where one is fitted on films."""
    if choice.file is not None:
        return load_prior(choice.file)
    return None if films.prior is not None else shipped_prior(None, "pggan" if choice.generator else "gaussian")


def prior_of(
    choice: PriorChoice, stored: Prior | None, films: Films, frame: Frame
) -> tuple[Prior, Cohort | None, Origin | None]:
    """The ``stored`` prior at the side of ``frame``, or one fitted on films; with its films and its origin where they
    are known."""
    if stored is not None:
        public = stored.origin if isinstance(stored, GaussianPrior | PgganPrior) else None
        known = public if choice.file is None else file_origin(choice.file, choice.patients, stored, public)
        return prior_at(stored, frame.side), None, known
    if films.prior is None:
        raise ValueError("there are no films to fit a prior on")
    given = films.prior(frame)
    fitted = fit_gaussian(
        given.cohort.images,
        Declaration(given.declared, (given.declared,), given.licence),
        torch.Generator().manual_seed(choice.seed),
        patients=given.cohort.summary.patients,
    )
    return fitted, given.cohort, origin_of(given.cohort.images, given.cohort.named_patients())


def require_colours(card: PriorCard, channels: int) -> None:
    """Raise PriorError where the prior has not the channels that films are read with: what it draws would be of
    another kind, and in grey the weights do not recognise films that they learned in colour."""
    if card.channels == channels:
        return
    kinds = {1: "grey", 3: "in colour"}
    raise PriorError(
        f"the films are read {kinds[channels]}, the prior's are {kinds.get(card.channels, 'neither')}",
        closest=f"{card.id}, {card.channels} channels",
        remedy="give --prior public films of the same kind, or a file made of them (prior fit --colour)",
    )


def file_origin(file: Path, patients: Path | None, prior: Prior, public: Origin | None) -> Origin | None:
    """What is known of a prior file's films: by the patient file given, by itself, by a patient file beside it."""
    private = patients or beside(file)
    if patients is None and (public is not None or not private.is_file()):
        return public
    return read_patient_file(private, prior=prior.card.sha256)


def samples_of(prior: Prior, seed: int) -> Tensor:
    """[SAMPLES, C, side, side] draws from ``prior`` in [0, 1], on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return torch.cat([prior.decode(prior.sample_latents(64, generator)) for _ in range(SAMPLES // 64)]).clamp(0, 1)


def _space(prior: Prior, images: Tensor, seed: int, *, shipped: bool) -> GaussianPrior:
    """The full-rank space: the prior where it is Gaussian, the shipped Gaussian beside the shipped generator, else a
    fit to the generator's samples."""
    if isinstance(prior, GaussianPrior):
        return prior
    if shipped:
        gaussian = shipped_prior(prior.card.side)
        if isinstance(gaussian, GaussianPrior):
            return gaussian
    card = prior.card
    return fit_gaussian(
        images,
        Declaration(f"{card.id}-full-rank", card.declared_training_sets, card.licence),
        torch.Generator().manual_seed(seed),
        patients=card.patients,
        augment=1,
    )
