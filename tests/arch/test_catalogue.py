"""Networks built without drawing their initial weights: it ends, whatever the memory held before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import timm.layers.weight_init
import torch
from torch import Tensor, nn

from reid_audit.arch.catalogue import unfilled


def garbage(*shape: int) -> nn.Parameter:
    """A parameter in memory that was used before."""
    return nn.Parameter(torch.full(shape, 6.9780e22))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda it: nn.init.trunc_normal_(it, std=0.02), id="wide bounds"),
        pytest.param(lambda it: nn.init.trunc_normal_(it, std=0.1, a=0.1, b=0.3), id="bounds without the mean"),
        pytest.param(lambda it: nn.init.trunc_normal_(it, std=1.0, a=0.0, b=0.2), id="narrow bounds"),
        pytest.param(lambda it: timm.layers.weight_init.trunc_normal_(it, std=0.02), id="timm"),
        pytest.param(nn.init.orthogonal_, id="orthogonal"),
        pytest.param(nn.init.xavier_uniform_, id="xavier"),
    ],
)
def test_samplers_end_on_used_memory(draw: Callable[[nn.Parameter], Tensor]) -> None:
    def build() -> nn.Module:
        module = nn.Linear(1, 1)
        module.weight = garbage(64, 64)
        draw(module.weight)
        return module

    module = unfilled(build)
    assert bool(torch.isfinite(next(module.parameters())).all())
    assert float(next(module.parameters()).detach().abs().max()) < 6.0


def test_the_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    unfilled(lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=2))
    assert torch.equal(torch.rand(4), expected)
