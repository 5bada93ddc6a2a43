"""Only the tensors of a network have to be finite: what is infinite by design, or lies beside it, refuses no file."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from corpus_base import parse, saved
from test_load import STATE, read
from torch import nn

from reid_audit.arch import match
from reid_audit.errors import CheckpointError

INF, NAN = float("inf"), float("nan")
MASKS = {
    "attn_mask": torch.full((4, 4), -INF).triu(1),
    "transformer.blocks.0.attn.mask": torch.tensor([0.0, -INF]),
    "text.causal_mask": torch.tensor([-INF, 0.0]).half(),
    "decoder.attention_mask_bias": torch.tensor([-INF]).bfloat16(),
    "fp8.mask": torch.tensor([-INF, 1.0]).to(torch.float8_e5m2),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_may_be_infinite_and_stay(name: str) -> None:
    found = read(saved({**STATE, name: MASKS[name]}))
    assert torch.equal(found.tensors[name], MASKS[name].float())
    assert f"infinite, as masks and observers are: {name}" in found.findings
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        parse(saved({**STATE, name: MASKS[name].float().fill_(NAN).to(MASKS[name].dtype)}))


def quantised_in_training() -> nn.Module:
    """A network with observers of fake quantisation that have seen nothing yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao import quantization

        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        module.qconfig = quantization.get_default_qat_qconfig("x86")  # type: ignore[no-untyped-call]
        prepared: nn.Module = quantization.prepare_qat(module.train())  # type: ignore[no-untyped-call]
        return prepared


def test_observers_may_be_infinite() -> None:
    state = quantised_in_training().state_dict()
    assert any(bool(torch.isinf(value).any()) for value in state.values())
    found = read(saved(state))
    assert set(found.tensors) == set(state)
    assert any(finding.startswith("infinite, as masks and observers are") for finding in found.findings)


BESIDE: dict[str, torch.Tensor] = {
    "val_metrics.auroc.best": torch.tensor([NAN, 1.0]),
    "criterion.weight": torch.tensor([INF, 1.0]),
    "loss_fn.pos_weight": torch.tensor([INF]),
    "val_acc_best": torch.tensor(-INF),
    "best_score": torch.tensor(NAN),
    "auroc": torch.tensor([NAN]),
}


@pytest.mark.parametrize("name", BESIDE)
def test_losses_metrics_and_numbers_are_left_out(name: str) -> None:
    found = read(saved({**STATE, name: BESIDE[name]}))
    assert set(found.tensors) == set(STATE)
    assert f"not finite and left out: {name}" in found.findings


LEARNED: dict[str, torch.Tensor] = {
    "conv.weight": torch.tensor([[INF]]),
    "head.bias": torch.tensor([NAN]),
    "pos_embed": torch.tensor([[NAN]]),
    "bn.running_var": torch.tensor([INF]),
    "logit_scale": torch.tensor(NAN),
    "blocks.0.ls1.gamma": torch.tensor([INF]),
    "masked_conv.weight": torch.tensor([INF]),
    "mask_token": torch.tensor([NAN]),
    "features.acc.weight": torch.tensor([NAN]),
    "conv.weight_mask": torch.tensor([NAN]),
}


@pytest.mark.parametrize("name", LEARNED)
def test_weights_and_statistics_must_be_finite(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"NaN or infinity in {name}"):
        parse(saved({**STATE, name: LEARNED[name]}))


def test_a_file_with_nothing_else_is_refused() -> None:
    with pytest.raises(CheckpointError, match="NaN or infinity in best_score"):
        parse(saved({"best_score": torch.tensor(NAN), "epoch": torch.tensor(3)}))


def resnet_with(extra: Callable[[dict[str, torch.Tensor]], None]) -> dict[str, torch.Tensor]:
    import torchvision

    state: dict[str, torch.Tensor] = torchvision.models.resnet18(num_classes=2).state_dict()
    extra(state)
    return state


def test_networks_are_identified_beside_them() -> None:
    def observed(state: dict[str, torch.Tensor]) -> None:
        state["conv1.activation_post_process.min_val"] = torch.tensor(INF)
        state["conv1.activation_post_process.max_val"] = torch.tensor(-INF)
        state["criterion.pos_weight"] = torch.tensor([INF])

    found = match(read(saved(resnet_with(observed))).tensors)
    assert (found.name, found.classes) == ("resnet18", 2)
    assert any("fake quantisation is left out" in text for text in found.evidence)
