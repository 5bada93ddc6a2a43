"""Where no films explain the statistics, the answers decide between the values of a few films and those of all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from reid_audit.network import preprocessing
from reid_audit.network.preprocessing import _answered_values
from reid_audit.network.search import Search
from reid_audit.records import PreprocessSpec

JOINT = PreprocessSpec(side=8, mean=(0.34,), std=(0.27,), invert=True)
ALL_FILMS = PreprocessSpec(side=8, mean=(0.5,), std=(0.25,))


def asked(count: int, sure: float) -> Tensor:
    """Answers [count, 2], one half each way, so many logits apart."""
    return sure * torch.eye(2).repeat(count // 2, 1)


@pytest.mark.parametrize(("joint", "plain", "kept"), [(1.0, 4.0, ALL_FILMS), (4.0, 1.0, JOINT), (4.0, 4.0, JOINT)])
def test_values_of_a_few_films_give_way_to_answers_that_surely_tell_more(
    joint: float, plain: float, kept: PreprocessSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(_: object, images: Tensor, spec: PreprocessSpec) -> Tensor:
        return asked(len(images), joint if spec == JOINT else plain)

    def of_all(*_: Any) -> PreprocessSpec:
        return ALL_FILMS

    monkeypatch.setattr(preprocessing, "outputs_under", answers)
    search = SimpleNamespace(
        films_at=lambda _, count: torch.zeros(count, 1, 8, 8),
        target=SimpleNamespace(match=SimpleNamespace(head="softmax")),
        values=of_all,
    )
    assert _answered_values(cast("Search", search), JOINT) == kept
