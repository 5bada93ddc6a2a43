"""How films became network input in training, asked of the answers: for networks that store no statistics of films.

Under the preprocessing of the training a network answers the labels that it was taught; under another one it does so
less well. What is compared is the mean probability of a wrong answer, 1 - p(label): unlike the cross entropy it is
bounded, so that the confident errors of an overfitted network on films it never saw do not outweigh everything else
(the mean absolute error of Ghosh et al., AAAI 2017). Of networks that answer with a number it is the share of the
labels' variance that the number leaves unexplained.

Known values, plain and inverted, are tried at every side and scaling; then neighbouring sides, turns, parts,
framings and interpolations of the best; at last one scale and one shift of its values are fitted by gradient descent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.arch.target import Target
from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.network.answers import asked_as, log_odds, outputs_under, taught_answers
from reid_audit.network.geometries import COARSE, framings, interpolations, neighbours, parts, per_film, turns
from reid_audit.network.heads import HeadKind, logits_of
from reid_audit.network.search import FEW, MANY, PLAIN, STAGE, Candidate, FilmsAt, Fitted, Ways, count_at
from reid_audit.network.values import as_spec, scale_and_shift, with_values
from reid_audit.observer import StageAdvanced
from reid_audit.preprocess import KNOWN_VALUES, UNIT, to_network
from reid_audit.records import PreprocessSpec, Turn

BATCH = 32
FINALISTS = 4
"""Ways that are asked about with all films once a few films have ranked them."""
TURNS = 2
STEPS, RATE = 24, 0.08
"""Of the gradient descent on scale and shift."""


def answer_errors(head: HeadKind, outputs: Tensor, labels: NDArray[np.str_]) -> Tensor | None:
    """[N] how far the answers are from the manifest's words [N], on the CPU: 0 is right, a mean of 1 says nothing.

    outputs [N, K]. Of classes 1 - p(label), words assigned to outputs as ``taught_answers`` does; of a number the
    squared error of the label read off it by least squares, over the variance of the labels: its mean is the share of
    that variance which stays unexplained. None where answers and words cannot be compared.
    """
    if asked_as(head, outputs) == "regression":
        return _unexplained(outputs, labels)
    wanted = taught_answers(head, outputs, labels)
    return None if wanted is None else torch.sigmoid(-log_odds(head, outputs, wanted)).cpu()


def _unexplained(outputs: Tensor, labels: NDArray[np.str_]) -> Tensor | None:
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return None
    predicted = outputs[:, 0].double().cpu().numpy()
    if outputs.shape[1] != 1 or not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
        return None
    slope, shift = np.polyfit(predicted, numbers, 1) if np.ptp(predicted) > 0 else (0.0, numbers.mean())
    return torch.from_numpy((numbers - slope * predicted - shift) ** 2 / numbers.var()).float()


@dataclass(slots=True)
class _Search:
    """Ways asked about so far; the films of each are the first of the same sequence."""

    target: Target
    films_at: FilmsAt
    labels: NDArray[np.str_]
    pace: Pace
    stage: str
    found: dict[tuple[PreprocessSpec, int], Tensor] = field(default_factory=dict)

    def errors(self, spec: PreprocessSpec, most: int) -> Tensor:
        """[N] errors of the answers. Raises OutOfTime, _NoAnswers where words and answers cannot be compared."""
        if (spec, most) not in self.found:
            self.pace.check(self.stage)
            films = self.films_at(spec, count_at(spec, most))
            outputs, head = outputs_under(self.target, films, spec), self.target.match.head
            found = None if outputs is None else answer_errors(head, outputs, self.labels[: len(films)])
            if found is None:
                raise _NoAnswers
            self.found[spec, most] = found
            self.pace.observer.notice(StageAdvanced(self.stage, len(self.found)))
        return self.found[spec, most]

    def mean(self, spec: PreprocessSpec, most: int) -> float:
        """Their mean."""
        return float(self.errors(spec, most).mean())

    def better(self, current: PreprocessSpec, others: Sequence[PreprocessSpec]) -> PreprocessSpec:
        """The best of ``others`` where the films prefer it by more than a standard error, else ``current``."""
        best = min(others, key=lambda spec: self.mean(spec, MANY), default=current)
        ours, theirs = self.errors(current, MANY), self.errors(best, MANY)
        gain = (ours - theirs).double() if len(ours) == len(theirs) else (ours.mean() - theirs).double()
        return best if float(gain.mean()) > float(gain.std()) / len(gain) ** 0.5 else current

    def refined(self, spec: PreprocessSpec) -> PreprocessSpec:
        """``spec`` with its values fitted to a part of the films."""
        films = self.films_at(spec, count_at(spec, 2 * FEW))
        return refined(self.target, spec, films, self.labels, self.pace)

    def candidates(self) -> tuple[Candidate, ...]:
        """Everything tried, by the films most were asked with, best first."""
        most: dict[PreprocessSpec, float] = {}
        for (spec, _), errors in sorted(self.found.items(), key=lambda item: item[0][1]):
            most[spec] = float(errors.mean())
        return tuple(sorted((Candidate(spec, mean) for spec, mean in most.items()), key=lambda c: c.misfit))


class _NoAnswers(Exception):
    """The network's answers cannot be compared with the labels."""


def fit_by_answers(
    target: Target,
    films_at: FilmsAt,
    labels: NDArray[np.str_],
    *,
    side: int | None,
    ways: Ways | None = PLAIN,
    pace: Pace | None = None,
    stage: str = STAGE,
) -> Fitted | None:
    """The preprocessing under which the films are answered best; None where answers and labels cannot be compared.

    labels [N] are those of the films that ``films_at`` renders, in their order. side: pixels where they are known,
    None: searched. ways: None of films that come in one frame only. Where the pace ends the search the best so far is
    returned as not complete. Deterministic but for that. Raises OutOfTime where there was no time to try anything.
    """
    search = _Search(target, films_at, labels, pace or unhurried(), stage)
    complete = True
    try:
        best = _valued(search, side, ways or PLAIN)
        if ways is not None:
            best = _framed(search, best, side, ways.turns)
        best = search.better(best, [search.refined(best)])
    except _NoAnswers:
        return None
    except OutOfTime:
        if not search.found:
            raise
        best, complete = search.candidates()[0].spec, False
    asked = max(len(errors) for (spec, _), errors in search.found.items() if spec == best)
    return Fitted(best=best, candidates=search.candidates(), augmentation="none", films=asked, complete=complete)


def _valued(search: _Search, side: int | None, among: Ways) -> PreprocessSpec:
    """Side, scaling, turn and known values: of a few films, then the best of them again of all. Where there are more
    than ``TURNS`` turns they are too many for that, and wait until a side is found."""
    channels = search.target.match.channels
    known = [values for values in KNOWN_VALUES if len(values.mean) in (1, channels)]
    known += per_film(UNIT, among.per_film)
    ways = [
        values.model_copy(update={"side": pixels, "scaling": scaling, "turn": turn, "invert": invert})
        for pixels in ((side,) if side else COARSE)
        for scaling in (*among.scalings, *among.late)
        for turn in (among.turns if len(among.turns) <= TURNS else among.turns[:1])
        for values in known
        for invert in among.inverts
    ]
    found = []
    for kind in among.per_film:
        own = (spec for spec in ways if spec.per_film == kind)
        likeliest = sorted(own, key=lambda spec: search.mean(spec, FEW))[:FINALISTS]
        found.append(min(likeliest, key=lambda spec: search.mean(spec, MANY)))
    return _standardised_or_not(search, found)


def _standardised_or_not(search: _Search, found: Sequence[PreprocessSpec]) -> PreprocessSpec:
    """The first of ``found``, or another, each with its values fitted: films that are each standardised by itself come
    nearer to values that nobody uses than known values of films as they are."""
    if len(found) == 1:
        return found[0]
    fits = {search.refined(spec): spec for spec in found}
    first, *others = fits
    return fits[search.better(first, others)]


def _framed(search: _Search, best: PreprocessSpec, side: int | None, among: Sequence[Turn]) -> PreprocessSpec:
    """Neighbouring sides where the side is not known, turns, parts of the films, framings and interpolations."""
    while side is None and best != (moved := search.better(best, neighbours(best))):
        best = moved
    best = search.better(best, turns(best, among))
    while best != (moved := search.better(best, parts(best))):
        best = moved
    best = search.better(best, framings(best, free=side is None))
    return search.better(best, interpolations(best))


def refined(
    target: Target, start: PreprocessSpec, images: Tensor, labels: NDArray[np.str_], pace: Pace
) -> PreprocessSpec:
    """``start`` with one scale and one shift of its values fitted to images [N, C, side, side] in [0, 1].

    Adam on the mean error. The pace may end it early; the smallest mean that was seen counts.
    """
    device, head = next(target.module.parameters()).device, target.match.head
    outputs = outputs_under(target, images, start)
    wanted = None if outputs is None else taught_answers(head, outputs, labels[: len(images)])
    if wanted is None:
        return start
    batches = [to_network(b.to(device), start, target.match.channels) for b in torch.split(images, BATCH)]
    change = torch.zeros(2, device=device, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=RATE)
    least, kept = float("inf"), (0.0, 0.0)
    for _ in range(STEPS):
        if pace.meter.exhausted() is not None:
            break
        optimiser.zero_grad()
        mean = 0.0
        for batch, answers in zip(batches, torch.split(wanted, BATCH), strict=True):
            found = logits_of(target.module(batch * change[0].exp() + change[1]))
            part = torch.sigmoid(-log_odds(head, found, answers)).sum() / len(images)
            part.backward()  # type: ignore[no-untyped-call]
            mean += float(part.detach())
        if mean < least:
            least, kept = mean, (float(change[0].detach()), float(change[1].detach()))
        optimiser.step()
    return _changed(start, target.match.channels, *kept)


def _changed(spec: PreprocessSpec, channels: int, scale: float, shift: float) -> PreprocessSpec:
    """``spec`` with values under which its network input x [N, ``channels``, H, W] becomes x exp(scale) + shift."""
    values = scale_and_shift(spec, channels)
    if values is None:
        raise ValueError(f"{len(spec.mean)} values for {channels} channels")
    factors, summands = np.split(values, 2)
    return with_values(spec, as_spec(np.concatenate([factors, summands + shift * np.exp(-scale)]) * np.exp(scale)))
