"""What people do to a network and its file before it is audited: every change still identified, and run rightly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import State, images_for, resnet, run, same_network, small_entries
from torch import Tensor, nn

from reid_audit.arch import identify, match
from reid_audit.arch.canonical import canonical
from reid_audit.arch.index import Entry, shipped
from reid_audit.errors import ArchitectureError

SAMPLE = small_entries(60)


def published(entry: Entry) -> State:
    described = shipped().described(entry)
    return {k: torch.empty(shape, device="meta") for k, (shape, _) in described.items()}


def named(name: str) -> Entry:
    return next(entry for entry in shipped().entries if entry.name == name)


def resized(count: int) -> Callable[[State, Entry], State]:
    def change(state: State, entry: Entry) -> State:
        stems = {k: state[k] for k in entry.stem if state[k].dim() > 1}
        return state | {
            k: torch.empty(v.shape[0], v.shape[1] * count // 3, *v.shape[2:], device="meta") for k, v in stems.items()
        }

    return change


def every_other(state: State, entry: Entry) -> list[str]:
    special = {*entry.head, *entry.stem}
    return [k for k, v in state.items() if k.endswith(".weight") and v.dim() > 1 and k not in special][::2]


def weight_normed(state: State, entry: Entry) -> State:
    chosen = every_other(state, entry)
    rest = {k: v for k, v in state.items() if k not in chosen}
    for key in chosen:
        gain = torch.empty(state[key].shape[0], *(1 for _ in state[key].shape[1:]), device="meta")
        rest |= {f"{key}_g": gain, f"{key}_v": state[key]}
    return rest


def adapted(state: State, entry: Entry) -> State:
    chosen = {k.removesuffix(".weight") for k in every_other(state, entry) if state[k].dim() == 2}
    done: State = {}
    for key, value in state.items():
        path, _, leaf = key.rpartition(".")
        done[f"base_model.model.{path}.base_layer.{leaf}" if path in chosen else f"base_model.model.{key}"] = value
        if path in chosen and leaf == "weight":
            done[f"base_model.model.{path}.lora_A.default.weight"] = torch.empty(4, value.shape[1], device="meta")
            done[f"base_model.model.{path}.lora_B.default.weight"] = torch.empty(value.shape[0], 4, device="meta")
    return done


CHANGES: dict[str, Callable[[State, Entry], State]] = {
    "deep prefix": lambda s, e: {f"a.b.c.d.e.f.g.{k}": v for k, v in s.items()},
    "fsdp and compile inside": lambda s, e: {
        k.replace(".", "._fsdp_wrapped_module._orig_mod.", 1): v for k, v in s.items()
    },
    "bf16": lambda s, e: {k: v.bfloat16() for k, v in s.items()},
    "weight norm": weight_normed,
    "lora": adapted,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_sample_of_the_index_under_each_change(change: Callable[[State, Entry], State]) -> None:
    for entry in SAMPLE:
        assert same_network(change(published(entry), entry), entry), entry.name


@pytest.mark.parametrize("count", [1, 2, 4])
def test_other_numbers_of_channels_are_read(count: int) -> None:
    for entry in SAMPLE:
        if entry.stem:
            assert match(resized(count)(published(entry), entry)).channels == count, entry.name


class Adapted(nn.Module):
    """What peft makes of a linear layer."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.lora_B["default"](self.lora_A["default"](x))
        found: Tensor = self.base_layer(x) + self.scale * update
        return found


@pytest.mark.parametrize("alpha", [None, 4.0])
def test_unmerged_lora_gives_the_same_output(alpha: float | None) -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32)
    for block in module.get_submodule("blocks").children():
        mlp: Any = block.get_submodule("mlp")
        mlp.fc1 = Adapted(mlp.fc1, 2, 1.0 if alpha is None else alpha / 2)
    state = {f"base_model.model.{k}": v for k, v in module.state_dict().items()}
    if alpha is not None:
        paths = [k.removesuffix(".base_layer.weight") for k in state if k.endswith(".base_layer.weight")]
        state |= {f"{path}.alpha": torch.tensor(alpha) for path in paths}
    target = identify(state)
    assert target.match.coverage == 1.0
    assert any("LoRA adapters merged into 12 weights" in line for line in target.match.evidence)
    assert any("alpha equal to the rank is assumed" in line for line in target.match.evidence) == (alpha is None)
    images = images_for(3, 32)
    torch.testing.assert_close(run(target.module, images), run(module, images), atol=1e-4, rtol=1e-3)


def test_adapters_without_their_weights_are_left_alone() -> None:
    state = {"a.lora_A.weight": torch.zeros(2, 3), "b.weight": torch.zeros(3, 3), "b.lora_B.weight": torch.zeros(3, 2)}
    assert len(canonical(state).state) == 3


@pytest.mark.parametrize("kind", ["weight norm, old", "weight norm, new", "spectral norm, old", "spectral norm, new"])
def test_reparametrised_layers_give_the_same_output(kind: str) -> None:
    wrap: Any = {
        "weight norm, old": nn.utils.weight_norm,
        "weight norm, new": nn.utils.parametrizations.weight_norm,
        "spectral norm, old": nn.utils.spectral_norm,
        "spectral norm, new": nn.utils.parametrizations.spectral_norm,
    }[kind]
    module = resnet()
    for layer in map(module.get_submodule, ("layer1.0.conv1", "layer3.1.conv2", "fc")):
        wrap(layer)
    module.eval()
    target = identify(module.state_dict())
    assert target.match.coverage == 1.0
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images), atol=1e-4, rtol=1e-3)


def test_spectral_norm_of_a_transposed_convolution() -> None:
    layer = nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(3, 5, 2)).eval()
    folded = canonical({f"up.{k}": v for k, v in layer.state_dict().items()}).state
    torch.testing.assert_close(folded["up.weight"], layer.weight)


def test_a_shuffled_mlp_head_keeps_its_order() -> None:
    module = resnet(fc=nn.Sequential(nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)))
    state = dict(reversed(list(module.state_dict().items())))
    target = identify(state)
    assert target.match.classes == 3
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_a_named_head_is_ordered_by_its_widths() -> None:
    head = nn.Sequential()
    for name, layer in (("z", nn.Linear(512, 32)), ("relu", nn.ReLU()), ("a", nn.Linear(32, 3))):
        head.add_module(name, layer)
    module = resnet(fc=head)
    target = identify(dict(sorted(module.state_dict().items())))
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_a_pooled_head_keeps_its_pooling() -> None:
    module = timm.create_model("convnext_atto", num_classes=0)
    head: Any = module.get_submodule("head")
    head.fc = nn.Sequential(nn.Linear(320, 16), nn.ReLU(), nn.Linear(16, 2))
    target = identify(module.state_dict(), side=64)
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images), atol=1e-5, rtol=1e-4)


class Wrapped(nn.Module):
    """A backbone and a classifier side by side, as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = resnet(fc=nn.Identity())
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(512, 4))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.encoder(images))
        return logits


def test_a_classifier_beside_the_backbone_is_its_head() -> None:
    module = Wrapped()
    target = identify(module.state_dict())
    assert (target.match.name, target.match.classes) == ("resnet18", 4)
    assert any("classifier beside the network" in line for line in target.match.evidence)
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_children_in_a_sequential_are_named_again() -> None:
    module = resnet()
    bare = nn.Sequential(*list(module.children())[:-1])
    target = identify({f"backbone.{k}": v for k, v in bare.state_dict().items()})
    assert (target.match.name, target.match.head) == ("resnet18", "features")
    images = images_for(3, 64)
    torch.testing.assert_close(run(target.module, images), run(bare, images).flatten(1))


def simclr() -> State:
    module = resnet(fc=nn.Identity()).state_dict()
    projection = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128)).state_dict()
    return {f"encoder.{k}": v for k, v in module.items()} | {f"projector.{k}": v for k, v in projection.items()}


def moco() -> State:
    module = resnet(fc=nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))).state_dict()
    copies = {f"module.{name}.{k}": v for name in ("encoder_q", "encoder_k") for k, v in module.items()}
    return copies | {"module.queue": torch.rand(128, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}


def dino() -> State:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64).state_dict()
    head = {f"mlp.{i}.{leaf}": torch.rand(8, 8) if leaf == "weight" else torch.rand(8) for i in (0, 2, 4)
            for leaf in ("weight", "bias")}  # fmt: skip
    head |= {"last_layer.weight_g": torch.ones(16, 1), "last_layer.weight_v": torch.rand(16, 8)}
    return {f"module.backbone.{k}": v for k, v in module.items()} | {f"module.head.{k}": v for k, v in head.items()}


@pytest.mark.parametrize(
    ("state", "names"), [(simclr, {"resnet18"}), (moco, {"resnet18"}), (dino, {"vit_tiny_patch16_224"})]
)
def test_self_supervised_backbones_lose_their_projection(state: Callable[[], State], names: set[str]) -> None:
    target = identify(state())
    found = target.match
    assert {found.name, *(c.name for c in found.candidates if c.coverage == found.coverage)} & names
    assert (found.head, found.classes) == ("features", 0)
    assert run(target.module, images_for(3, 64)).dim() == 2


@pytest.mark.parametrize("auxiliary", [False, True])
def test_torchvision_segmentation(auxiliary: bool) -> None:
    build = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    module: nn.Module
    if auxiliary:
        module = torchvision.models.segmentation.fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=4, aux_loss=True
        )
    else:
        module = build(weights=None, weights_backbone=None, num_classes=4)
    target = identify({f"module.{k}": v for k, v in module.state_dict().items()})
    assert (target.match.head, target.match.classes) == ("segmentation", 4)
    images = images_for(3, 64)
    with torch.no_grad():
        torch.testing.assert_close(run(target.module, images), module.eval()(images)["out"])


def test_torchxrayvision_resnet() -> None:
    module = torchvision.models.resnet50(num_classes=18)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    state = {f"model.{k}": v for k, v in module.state_dict().items()} | {"op_threshs": torch.rand(18)}
    target = identify(state)
    found = target.match
    assert (found.library, found.name, found.head, found.channels) == ("torchxrayvision", "resnet50", "sigmoid", 1)
    images = images_for(1, 64)
    torch.testing.assert_close(run(target.module, images), run(module, images))


def test_ambiguity_is_reported_and_the_option_decides() -> None:
    state = published(named("vit_base_patch16_224"))
    found = match(state)
    same = {c.name for c in found.candidates if c.coverage == found.coverage} | {found.name}
    assert {"deit_base_patch16_224", "vit_base_patch16_224"} <= same
    chosen = match(state, name="deit_base_patch16_224")
    assert (chosen.name, chosen.by) == ("deit_base_patch16_224", "option")


def test_position_embeddings_tell_equal_networks_apart() -> None:
    state = published(named("vit_base_patch16_384"))
    found = match(state)
    same = {c.name for c in found.candidates if c.coverage == found.coverage} | {found.name}
    assert "vit_base_patch16_384" in same
    assert "vit_base_patch16_224" not in same
    assert found.side == 384


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("mobilenetv3_large_100", "tf_mobilenetv3_large_100"),
        ("vit_base_patch16_clip_224", "vit_base_patch16_clip_quickgelu_224"),
    ],
)
def test_networks_that_pad_or_activate_otherwise_are_doubted(name: str, other: str) -> None:
    state = published(named(name))
    found = match(state)
    assert found.name in (name, other)
    assert any(f"--arch {found.name} or" in line for line in found.doubts)
    for chosen in (name, other):
        assert (match(state, name=chosen).name, match(state, name=chosen).doubts) == (chosen, ())


def test_a_normalisation_in_the_head_without_statistics_is_doubted() -> None:
    module = resnet(fc=nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 3)))
    assert any("LayerNorm is assumed" in line for line in match(module.state_dict()).doubts)
    batch = resnet(fc=nn.Sequential(nn.BatchNorm1d(512), nn.Linear(512, 3)))
    assert not match(batch.state_dict()).doubts


def test_a_near_miss_explains_itself() -> None:
    state = resnet().state_dict()
    del state["layer2.0.conv1.weight"]
    state["layer4.1.attention.weight"] = torch.zeros(3, 3)
    with pytest.raises(ArchitectureError) as caught:
        match(state)
    lines = caught.value.lines()
    assert len(lines) == 3
    assert "resnet18 (torchvision): 101 of 102 keys" in lines[1]
    assert "first missing layer2.0.conv1.weight" in lines[1]
    assert "first unexpected layer4.1.attention.weight" in lines[1]
    assert "--arch NAME" not in lines[2]
    assert "--arch-factory" in lines[2]
