"""What a network was taught to answer about each image, and how far it does: the signal of membership inference.

    phi(x, y) = log p_y - log (1 - p_y) = z_y - log sum_{k != y} exp z_k        softmax
    phi(x, y) = mean_k (2 y_k - 1) z_k                                          independent yes/no answers
    phi(x, y) = -log (mean_k (z_k - y_k)^2 + 1e-6)                              numbers

The logit-scaled confidence of Carlini et al. (S&P 2022), whose distribution over networks is close to Gaussian. Dense
outputs are averaged over positions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.cohort.findings import signs_of
from reid_audit.network.blocks import blocks
from reid_audit.network.heads import HeadKind, logits_of, meaning
from reid_audit.preprocess import to_network
from reid_audit.records import PreprocessSpec

REWEIGHTED = 30
"""Rounds in which the weights of a line through numbers settle."""
LEAST_SQUARE = 1e-6
"""Added to the squared error of a number, so that one that is met exactly does not outweigh all others."""


def outputs_of(output: object) -> Tensor:
    """[N, K, *] what a network returns: a tensor, the first of a tuple, or a dict's first value."""
    if isinstance(output, dict):
        output = next(iter(output.values()))
    if isinstance(output, Sequence):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"a network output of type {type(output).__name__} has no answers")
    return output if output.dim() > 2 else output.reshape(len(output), -1)


def outputs_under(target: Target, images: Tensor, spec: PreprocessSpec) -> Tensor | None:
    """[N, K] the network's outputs for images [N, C, side, side] in [0, 1] preprocessed as ``spec`` says.

    Of a network without a head its embeddings; None where the outputs are dense.
    """
    if target.match.head == "segmentation":
        return None
    device, channels = next(target.module.parameters()).device, target.match.channels
    with torch.no_grad():
        parts = [logits_of(target.module(to_network(few, spec, channels))) for few in blocks(images, device)]
    return torch.cat(parts)


def asked_as(kind: HeadKind, outputs: Tensor) -> HeadKind:
    """``softmax``, ``sigmoid`` or ``regression``: how outputs [N, K, *] of a head are read."""
    kind = "softmax" if kind == "segmentation" else kind
    return meaning(kind, outputs.shape[1])


def own_answers(kind: HeadKind, outputs: Tensor) -> Tensor:
    """The network's own: [N, *] the largest of exclusive classes, else [N, K, *] yes, no or the number itself."""
    kind = asked_as(kind, outputs)
    if kind == "softmax":
        answers = outputs.argmax(1)
        return answers.to(torch.uint8) if outputs.dim() > 2 and outputs.shape[1] <= 256 else answers
    return outputs.clone() if kind == "regression" else (outputs > 0).to(outputs)


def taught_answers(kind: HeadKind, outputs: Tensor, words: NDArray[np.str_]) -> Tensor | None:
    """The manifest's ``words`` [N] as answers of a head with outputs [N, K]; None where that cannot be said.

    Which word means which output is not in the file: the assignment under which the images given are decided best is
    taken, whoever of them was in training. Words of a regression with one output are numbers, scaled and shifted to the
    outputs by the line nearest to most of them. Where several outputs may be true at once a word names the findings
    that are (``findings_of``). Findings of columns of their own are those of the outputs in the same order, unless the
    answers contradict it (``_places``); where one is uncertain the network's own answer stands. None where a word is
    missing, there are more of them than outputs, or outputs are dense or embeddings.
    """
    if kind in ("segmentation", "features") or "" in words or outputs.dim() > 2:
        return None
    kind = asked_as(kind, outputs)
    if (signs := signs_of(words)) is not None:
        return _taught_columns(kind, outputs, torch.from_numpy(signs).to(outputs.device))
    if kind == "regression":
        return _taught_numbers(outputs, words)
    if kind == "sigmoid" and outputs.shape[1] > 1:
        return _taught_findings(outputs, words)
    known, numbers = np.unique(words, return_inverse=True)
    binary = outputs.shape[1] == 1
    logits = torch.cat([torch.zeros_like(outputs), outputs], dim=1) if binary else outputs
    if not 1 < known.size <= logits.shape[1]:
        return None
    numbered = torch.from_numpy(numbers.reshape(-1)).to(logits.device)
    chances = logits.log_softmax(1)
    gains = torch.stack([chances[numbered == number].sum(0) for number in range(known.size)])
    _, classes = linear_sum_assignment(gains.double().cpu().numpy(), maximize=True)
    answers = torch.from_numpy(classes).to(numbered)[numbered]
    return answers[:, None].to(outputs) if binary else answers


def findings_of(word: str) -> frozenset[str]:
    """What a label names that may name several things: ``Effusion|Mass``, ``Effusion; Mass`` and PadChest's
    ``['Effusion', 'Mass']`` name two."""
    inside = word.strip()
    inside = inside[1:-1] if inside[:1] + inside[-1:] in ("[]", "{}") else inside
    return frozenset(name for part in re.split(r"[|;,]", inside) if (name := part.strip().strip("'\"").strip()))


def _taught_findings(outputs: Tensor, words: NDArray[np.str_]) -> Tensor | None:
    """[N, K] 1 where a film's word names the finding of that output.

    One finding more than there are outputs may be left without one: a word for none of them. An output without a
    finding keeps the network's own answer.
    """
    named = [findings_of(word) for word in words]
    known = sorted(frozenset().union(*named))
    if not 1 < len(known) <= outputs.shape[1] + 1:
        return None
    present = torch.tensor([[finding in film for finding in known] for film in named]).to(outputs)
    own = (outputs > 0).to(outputs)
    gains = present.T @ outputs - (own * outputs).sum(0)
    findings, places = linear_sum_assignment(gains.double().cpu().numpy(), maximize=True)
    own[:, torch.from_numpy(places)] = present[:, torch.from_numpy(findings)]
    return own


def _taught_columns(kind: HeadKind, outputs: Tensor, signs: Tensor) -> Tensor | None:
    """Answers from signs [N, F] of findings with a column each: 1 present, 0 absent, -1 uncertain; F of 1 or more.

    Exclusive classes have one column each, or one in all where there are two.
    """
    if kind == "regression" or not bool((signs != signs[:1]).any()):
        return None
    if kind == "softmax" and signs.shape[1] == 1:
        signs = torch.where(signs < 0, signs, torch.cat([1 - signs, signs], dim=1))
    if signs.shape[1] > outputs.shape[1]:
        return None
    known, present = (signs >= 0).to(outputs), (signs > 0).to(outputs)
    own = own_answers(kind, outputs)
    if kind == "sigmoid":
        places = _places(present.T @ outputs - known.T @ (own * outputs))
        own[:, places] = torch.where(signs >= 0, present, own[:, places])
        return own
    single, unsure = present.sum(1) == 1, (signs < 0).any(1)
    if not bool((single | unsure).all()):
        return None
    places = _places(present[single].T @ outputs[single].log_softmax(1)).to(own)
    own[single] = places[present[single].argmax(1)]
    return own


def _places(gains: Tensor) -> Tensor:
    """[F] the output of each finding, from the log likelihoods [F, K] of the answers were it that of output K.

    Where every output has a finding, their order is taken for that of the outputs unless another one is more likely by
    more than all orders there are: the logarithm of a Bayes factor with an even prior on the order given. So an order
    that was named wrongly does not hide what a network remembers.
    """
    _, best = linear_sum_assignment(gains.double().cpu().numpy(), maximize=True)
    found = torch.from_numpy(best).to(gains.device)
    stated = torch.arange(len(gains), device=gains.device)
    better = float(gains[stated, found].sum() - gains[stated, stated].sum())
    return stated if len(gains) == gains.shape[1] and better <= math.lgamma(len(gains) + 1) else found


def _taught_numbers(outputs: Tensor, words: NDArray[np.str_]) -> Tensor | None:
    try:
        numbers = words.astype(np.float64)
    except ValueError:
        return None
    given = outputs[:, 0].double().cpu().numpy()
    if outputs.shape[1] != 1 or not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
        return None
    slope, shift = line_through(numbers, given)
    return torch.from_numpy(slope * numbers + shift)[:, None].to(outputs)


def line_through(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """(slope, shift) of the line with the least absolute deviations from points [N], by reweighted least squares.

    Unlike least squares it goes through those that lie on one line exactly, such as films that were learned by heart,
    whatever the others do (Bloomfield and Steiger 1983).
    """
    slope, shift = np.polyfit(x, y, 1)
    for _ in range(REWEIGHTED):
        apart = np.abs(y - slope * x - shift)
        slope, shift = np.polyfit(x, y, 1, w=1.0 / np.sqrt(np.maximum(apart, 1e-6 * max(float(np.std(y)), 1e-12))))
    return float(slope), float(shift)


def mean_loss(kind: HeadKind, outputs: Tensor, wanted: Tensor) -> Tensor:
    """Training loss of outputs [N, K, *] under answers; scalar."""
    kind = asked_as(kind, outputs)
    if kind == "softmax":
        return functional.cross_entropy(outputs, wanted.long())
    if kind == "sigmoid":
        return functional.binary_cross_entropy_with_logits(outputs, wanted)
    return 0.5 * (outputs - wanted).square().mean()


def log_odds(kind: HeadKind, outputs: Tensor, wanted: Tensor) -> Tensor:
    """[N] phi of each image from outputs [N, K, *] under its answers."""
    kind = asked_as(kind, outputs)
    if kind == "softmax":
        place = wanted.long().unsqueeze(1)
        chosen = outputs.gather(1, place)
        others = outputs.scatter(1, place, -torch.inf).logsumexp(1, keepdim=True)
        return (chosen - others).flatten(1).mean(1)
    if kind == "sigmoid":
        return ((2.0 * wanted - 1.0) * outputs).flatten(1).mean(1)
    return -((outputs - wanted).square().flatten(1).mean(1) + LEAST_SQUARE).log()


def right(kind: HeadKind, outputs: Tensor, wanted: Tensor) -> Tensor:
    """[N] share of each image's answers that the network gives too; for numbers, minus the absolute error."""
    kind = asked_as(kind, outputs)
    if kind == "softmax":
        return (outputs.argmax(1) == wanted).float().reshape(len(outputs), -1).mean(1)
    if kind == "sigmoid":
        return ((outputs > 0) == (wanted > 0.5)).float().flatten(1).mean(1)
    return -(outputs - wanted).abs().flatten(1).mean(1)
