"""Norms of films' gradients are those of the gradients written out."""

from __future__ import annotations

import pytest
import torch
from small import SPEC, blobs, convnet
from torch import nn

from benchmarks.lab.gradient_norms import gradient_norms
from reid_audit.network.answers import log_odds
from reid_audit.network.layers import matrix_layers
from reid_audit.preprocess import to_network


@pytest.mark.parametrize("normalised", [True, False])
def test_norms_are_those_of_gradients_written_out(normalised: bool) -> None:
    module, films = convnet(normalised=normalised).eval(), to_network(blobs(4, 3), SPEC, 1)
    wanted, layers = torch.tensor([0, 1, 1, 0]), matrix_layers(module, films[:1])
    found = gradient_norms(module, "softmax", layers, films, wanted)
    assert found.shape == (4, len(layers))
    assert not found.requires_grad
    for row, film in enumerate(films):
        module.zero_grad()
        odds = log_odds("softmax", module(film[None]), wanted[row : row + 1])
        torch.autograd.backward(odds.sum())
        for column, name in enumerate(layers):
            layer = module.get_submodule(name)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.weight.grad is not None
            assert float(found[row, column].exp()) == pytest.approx(float(layer.weight.grad.norm()), rel=1e-3)
