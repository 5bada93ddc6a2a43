"""Transformers with other tokens, poolings and layers than the published ones; and what must never be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import State, images_for, run
from test_rewritten import same, saved, scattered, small
from timm.layers.mlp import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from reid_audit.arch import identify, match
from reid_audit.errors import ArchitectureError

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 3}


def vit(**options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = scattered(VisionTransformer(**(TINY | options)))
        with torch.no_grad():
            for name in ("cls_token", "reg_token", "pos_embed"):
                if getattr(module, name) is not None:
                    getattr(module, name).normal_()
    return module


GATED: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
VARIANTS: dict[str, dict[str, Any]] = {
    "norm after the pool": {"global_pool": "avg"},
    "norm after the pool, no class token": {"global_pool": "avg", "class_token": False},
    "norm before the pool, no class token": {"global_pool": "avg", "class_token": False, "fc_norm": False},
    "registers": {"reg_tokens": 4},
    "registers without positions": {"reg_tokens": 4, "no_embed_class": True},
    "registers, no class token": {"reg_tokens": 2, "class_token": False, "global_pool": "avg"},
    "layer scale, normalised queries": {"init_values": 0.1, "qk_norm": True},
    "gated, norm in front, no bias": GATED | {"pre_norm": True, "qkv_bias": False},
    "features": {"num_classes": 0, "reg_tokens": 4},
    "the widths of ViT-Ti/16 over smaller patches": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "the widths of ViT-Ti/16, positions for patches alone": {
        "embed_dim": 192,
        "depth": 12,
        "num_heads": 3,
        "patch_size": 16,
        "no_embed_class": True,
    },
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=list(VARIANTS))
def test_a_transformer_is_read_off_its_shapes(options: dict[str, Any]) -> None:
    module = vit(**options)
    for loaded in saved({f"module.{k}": v for k, v in module.state_dict().items()}):
        target = identify(loaded)
        found = target.match
        assert (found.library, found.name, found.side, found.side_by) == ("timm", "VisionTransformer", 32, "weights")
        assert found.classes == module.num_classes
        assert (found.coverage, found.doubts) == (1.0, ())
        same(target, module, side=32)


def of_dinov2(module: nn.Module, width: int = 128) -> tuple[State, nn.Module]:
    """``module``'s weights as DINOv2 keeps them, and the network they make: the class token's position apart."""
    state = {k: v.clone() for k, v in module.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    position = torch.randn(1, 1, width, generator=generator)
    named = {
        k.replace("reg_token", "register_tokens").replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v
        for k, v in state.items()
    }
    named |= {"pos_embed": torch.cat([position, state["pos_embed"]], dim=1), "mask_token": torch.zeros(1, width)}
    with torch.no_grad():
        module.get_parameter("cls_token").add_(position)
    return named, module


def test_registers_and_gates_as_dinov2_spells_them() -> None:
    module = vit(reg_tokens=4, no_embed_class=True, init_values=1.0, num_classes=0, **GATED)
    state, network = of_dinov2(module)
    chunked = {k.replace("blocks.", "blocks.0.") if k.startswith("blocks") else k: v for k, v in state.items()}
    for loaded in (*saved(state), chunked):
        target = identify({f"teacher.backbone.{k}": v for k, v in loaded.items()})
        assert target.match.name == "VisionTransformer"
        assert target.match.unused == ("teacher.backbone.mask_token",)
        assert target.match.doubts == ()
        same(target, network, side=32)


HF = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Dinov2WithRegisters", "IJepa"])
def test_registers_and_no_class_token_as_transformers_spells_them(name: str) -> None:
    library = pytest.importorskip("transformers", reason="transformers is the oracle of this test")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(library, f"{name}Config")(**HF, num_labels=3)
        module = scattered(getattr(library, f"{name}ForImageClassification")(config))
        with torch.no_grad():
            for key, value in module.named_parameters():
                if key.endswith(("tokens", "cls_token", "position_embeddings")):
                    value.normal_()
    for loaded in saved(module.state_dict()):
        target = identify(loaded, config=config.to_dict())
        assert (target.match.classes, target.match.side, target.match.doubts) == (3, 32, ())
        same(target, lambda images: module(images).logits, side=32)


@pytest.mark.parametrize("key", ["prompt_embeddings", "age_token", "extra_pos_embed", "sex_embedding.weight"])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_tokens_that_no_network_knows_are_never_left_out(key: str, prefix: str) -> None:
    state = {f"{prefix}{k}": v for k, v in vit().state_dict().items()}
    for place in {prefix, ""}:
        with pytest.raises(ArchitectureError) as caught:
            match(state | {f"{place}{key}": torch.zeros(1, 2, 128)})
        assert key in caught.value.closest
        assert "tokens or embeddings" in caught.value.what


def test_tokens_beside_a_network_of_transformers_are_never_left_out() -> None:
    library = pytest.importorskip("transformers", reason="transformers is the oracle of this test")
    config = library.ViTConfig(**HF, intermediate_size=96, num_labels=3)
    state = library.ViTForImageClassification(config).state_dict()
    for key in ("prompt_tokens", "vit.embeddings.prompt_tokens"):
        with pytest.raises(ArchitectureError) as caught:
            match(state | {key: torch.zeros(1, 2, 128)})
        assert key.rpartition(".")[2] in caught.value.closest


def test_registers_beside_a_published_transformer() -> None:
    state = timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict()
    assert match(state).name != "VisionTransformer"
    found = match(state | {"register_tokens": torch.zeros(1, 4, 192)})
    assert found.name == "VisionTransformer"
    assert any("4 register tokens" in line for line in found.evidence)


def test_weights_left_out_are_listed_and_doubted() -> None:
    state = {f"backbone.{k}": v for k, v in small("resnet18").state_dict().items() if not k.startswith("fc.")}
    plain = match(state)
    assert (plain.unused, plain.doubts) == ((), ())
    found = match(state | {"age_branch.0.weight": torch.zeros(8, 1), "backbone.lstm.weight_ih_l0": torch.zeros(8, 4)})
    assert found.unused == ("backbone.lstm.weight_ih_l0", "age_branch.0.weight")
    assert any(line.startswith("2 modules left out") for line in found.doubts)


def test_what_is_left_out_is_named_as_the_file_names_it() -> None:
    module = small("resnet18")
    bare = nn.Sequential(*list(module.children())[:-1])
    state = {f"_orig_mod.net.{k}": v for k, v in bare.state_dict().items()}
    extra = ("_orig_mod.net.gate.weight", "_orig_mod.age.weight")
    assert match(state | {key: torch.zeros(2, 2) for key in extra}).unused == extra


@pytest.mark.parametrize(
    "key",
    ["criterion.weight", "loss_fn.pos_weight", "text_encoder.bert.embeddings.word_embeddings.weight", "op_threshs"],
)
def test_parts_that_no_image_passes_raise_no_doubt(key: str) -> None:
    state = {f"model.{k}": v for k, v in small("resnet18").state_dict().items()}
    found = match(state | {key: torch.zeros(3)})
    assert (found.unused, found.doubts) == ((key,), ())


def test_auxiliary_heads_of_training_raise_no_doubt() -> None:
    module = torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=3)
    target = identify(module.state_dict())
    assert target.match.name == "inception_v3"
    assert all(key.startswith("AuxLogits.") for key in target.match.unused)
    assert target.match.doubts == ()
    images = images_for(3, 128)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def numbered(module: nn.Module, last: int = -1) -> tuple[State, Callable[[Tensor], Tensor]]:
    bare = nn.Sequential(*list(module.children())[:last]).eval()
    return {f"backbone.{k}": v for k, v in bare.state_dict().items()}, lambda images: bare(images).flatten(1)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "shufflenet_v2_x0_5", "regnet_y_400mf", "densenet121"])
def test_numbered_children_are_named_again(name: str) -> None:
    aux = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = scattered(torchvision.models.get_model(name, weights=None, **aux))
    state, _ = numbered(module)
    target = identify(state)
    assert (target.match.name, target.match.head, target.match.coverage) == (name, "features", 1.0)
    left = {k: v for k, v in module.state_dict().items() if not k.startswith(("fc.", "classifier."))}
    theirs = target.module.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in left.items())
