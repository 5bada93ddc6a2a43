"""Outputs that nobody explained: exclusive classes, or findings of which several or none may be present."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import Chosen, Specimens
from reid_audit.audit.setup import FINDINGS, answered_head
from reid_audit.preprocess import HALF
from reid_audit.records import ArchMatch

CHOSEN = Chosen(HALF.model_copy(update={"side": 16}), "policy", None)
FILMS = Specimens(fixed=torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0)))


class Answers(nn.Module):
    """Random weights, and a bias that all outputs share."""

    def __init__(self, outputs: int, bias: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(256, outputs)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.linear(x.flatten(1)) + self.bias
        return answers


def matched(outputs: int, bias: float, head: str = "softmax", seen: Specimens | None = FILMS) -> ArchMatch:
    match = ArchMatch(library="l", family="f", name="n", coverage=1.0, classes=outputs, channels=1, side=16)
    target = Target(Answers(outputs, bias), match.model_copy(update={"head": head}))
    return answered_head(target, CHOSEN, seen)


def test_findings_that_are_mostly_absent_are_read_as_findings_and_that_is_said() -> None:
    found = matched(14, -4.0)
    assert found.head == "sigmoid"
    assert FINDINGS in found.evidence


@pytest.mark.parametrize(
    "found",
    [matched(14, 0.0), matched(2, -4.0), matched(14, -4.0, seen=None), matched(14, -4.0, head="regression")],
    ids=["classes", "two outputs", "no film", "numbers"],
)
def test_whatever_else_stays_as_it_is(found: ArchMatch) -> None:
    assert found.head != "sigmoid"
    assert FINDINGS not in found.evidence
