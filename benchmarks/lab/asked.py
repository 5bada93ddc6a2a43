"""What membership finds of raw films under one preprocessing, right or wrong."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.lab.traps import FilmSet, images_of
from reid_audit.arch.target import Target
from reid_audit.network.reading import Inputs
from reid_audit.preprocess import to_network
from reid_audit.records import Measured, Metric, PreprocessSpec, find
from reid_audit.score.membership.families import membership_scores
from reid_audit.score.membership.inference import membership
from reid_audit.score.patients import Owners


def membership_under(target: Target, films: FilmSet, spec: PreprocessSpec) -> dict[str, float]:
    """Membership of all films under ``spec``."""
    device = next(target.module.parameters()).device
    pooled = torch.cat([images_of(side, spec) for side in (films.members, films.others)])
    inputs = Inputs(pooled, lambda few: to_network(few.to(device), spec, target.match.channels))
    labels = np.concatenate([films.members.labels, films.others.labels])
    scores = membership_scores(target, inputs, labels).scores
    is_member = np.arange(len(pooled)) < len(films.members.films)
    owners = Owners(np.array([f"patient {i}" for i in range(len(pooled))], dtype=np.str_), is_member)
    found = membership(scores, owners, np.random.default_rng(0), draws=300).measurements
    auc, rate = (find(found, metric) for metric in (Metric.MEMBERSHIP_AUC, Metric.MEMBERSHIP_TPR))
    if not isinstance(auc, Measured) or not isinstance(rate, Measured):
        raise ValueError("membership could not be measured")
    return {
        "auc": auc.value,
        "auc_high": high_of(auc),
        "tpr": rate.value,
        "tpr_high": high_of(rate),
    }


def high_of(found: Measured) -> float:
    """The upper end of the interval, or the value where there is none."""
    return found.value if found.high is None else found.high
