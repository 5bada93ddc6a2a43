"""Networks that were rewritten before or after training: other normalisation, other layout, parts folded or pruned.

Every one is saved in two formats, identified without a hint, and gives the output of the network it came from.
"""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable, Iterator
from math import gcd

import pytest
import timm
import torch
import torchvision
from networks import State, run
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reid_audit.arch import Target, identify, match
from reid_audit.errors import ArchitectureError


def saved(state: State) -> Iterator[State]:
    """``state`` through safetensors and through torch.save."""
    yield load_safetensors(save_safetensors({k: v.contiguous().clone() for k, v in state.items()}))
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    yield torch.load(buffer, weights_only=True)


def scattered(module: nn.Module, seed: int = 0) -> nn.Module:
    """Vectors and buffers away from their initial values, so that a lost one shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point() and value.dim() < 2:
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + (0.75 if "var" in name else 0.5))
    return module.eval()


def small(name: str, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return scattered(getattr(torchvision.models, name)(num_classes=classes))


def same(target: Target, module: Callable[[Tensor], Tensor], side: int = 64, channels: int = 3) -> None:
    images = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(images)
    scale = float(expected.abs().max())
    torch.testing.assert_close(run(target.module, images) / scale, expected / scale, atol=1e-5, rtol=1e-5)


class CheXNet(nn.Module):
    """The reimplementation that most CheXNet files come from: DataParallel around a DenseNet with its own head."""

    def __init__(self) -> None:
        super().__init__()
        self.densenet121 = small("densenet121")
        self.densenet121.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.densenet121(images)
        return scores


def dotted(state: State) -> State:
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in state.items()}


def test_chexnet_with_the_names_of_old_torchvision() -> None:
    module = CheXNet().eval()
    state = dotted({f"module.{k}": v for k, v in module.state_dict().items()})
    assert "module.densenet121.features.denseblock1.denselayer1.norm.1.weight" in state
    for loaded in saved(state):
        target = identify(loaded)
        assert (target.match.name, target.match.classes) == ("densenet121", 14)
        assert target.match.coverage > 0.99
        assert (target.match.unused, target.match.doubts) == ((), ())
        answers = identify(loaded, name="densenet121")
        assert answers.match.by == "option"
        same(target, lambda images: module(images).logit())


def with_norms(module: nn.Module, make: Callable[[nn.BatchNorm2d], nn.Module]) -> nn.Module:
    """A copy with every BatchNorm replaced, as a validator of differentially private training does it."""
    changed = copy.deepcopy(module)
    for path, layer in list(changed.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            parent, _, leaf = path.rpartition(".")
            setattr(changed.get_submodule(parent), leaf, make(layer))
    return scattered(changed)


def grouped(layer: nn.BatchNorm2d) -> nn.Module:
    channels = layer.num_features
    few = min(32, channels)
    return nn.GroupNorm(few if channels % few == 0 else gcd(32, channels), channels)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_group_normalisation_in_the_place_of_batch_normalisation(name: str) -> None:
    module = with_norms(small(name), grouped)
    for loaded in saved(module.state_dict()):
        target = identify(loaded)
        assert (target.match.name, target.match.coverage) == (name, 1.0)
        assert dict(target.match.normalisation).keys() == {"GroupNorm"}
        assert (target.match.statistics, target.match.data_statistics) == ("missing", 0)
        assert any("have the same keys" in line for line in target.match.doubts)
        same(target, module)
    declared = match(module.state_dict(), name=f"{name}+groupnorm")
    assert (declared.doubts, declared.statistics) == ((), "none")


def test_another_number_of_groups_is_declared() -> None:
    module = with_norms(small("resnet18"), lambda layer: nn.GroupNorm(8, layer.num_features))
    same(identify(module.state_dict(), name="resnet18+groupnorm8"), module)
    same(identify(module.state_dict(), name="+groupnorm8"), module)
    with pytest.raises(ArchitectureError) as caught:
        identify(module.state_dict(), name="+groupnorm7")
    assert "7 groups do not divide 64 channels" in caught.value.what
    with pytest.raises(ArchitectureError) as caught:
        match(module.state_dict(), name="resnet18+weightnorm")
    assert "+instancenorm" in caught.value.closest


@pytest.mark.parametrize("affine", [False, True])
def test_instance_normalisation_in_the_place_of_batch_normalisation(affine: bool) -> None:
    module = with_norms(small("resnet18"), lambda layer: nn.InstanceNorm2d(layer.num_features, affine=affine))
    for loaded in saved(module.state_dict()):
        target = identify(loaded, name="+instancenorm" if affine else None)
        assert (target.match.name, dict(target.match.normalisation)) == ("resnet18", {"InstanceNorm2d": 20})
        assert bool(target.match.doubts) == (not affine)
        same(target, module)


def test_a_timm_network_keeps_the_activations_inside_its_normalisation() -> None:
    module = scattered(timm.create_model("efficientnet_b0", num_classes=2))
    for path, layer in list(module.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            parent, _, leaf = path.rpartition(".")
            inner = grouped(layer)
            inner.register_forward_hook(lambda _m, _i, out, act=layer.act, drop=layer.drop: act(drop(out)))
            setattr(module.get_submodule(parent), leaf, inner)
    scattered(module)
    same(identify(module.state_dict(), name="efficientnet_b0+groupnorm"), module)


def test_batch_normalisation_saved_without_its_statistics() -> None:
    module = small("resnet18")
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    for loaded in saved(parameters):
        found = match(loaded, name="resnet18+batchnorm")
        assert (found.statistics, found.data_statistics) == ("missing", 0)
        assert any("statistics missing" in line for line in found.doubts)
        assert match(loaded).statistics == "missing"
    target = identify(parameters, name="resnet18+batchnorm")
    pair = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(run(target.module, pair)[:1], run(target.module, pair[:1]))
    assert dict(target.match.normalisation) == {"BatchNorm2d": 20}


def test_a_published_group_normalisation_network_has_a_twin() -> None:
    module = timm.create_model("resnet50_gn", num_classes=2)
    found = match(module.state_dict())
    assert (found.name, dict(found.normalisation)) == ("resnet50_gn", {"GroupNorm": 53})
    assert any("saved without its statistics" in line for line in found.doubts)
    assert not match(module.state_dict(), name="resnet50_gn").doubts
    assert match(module.state_dict(), name="+groupnorm").name == "resnet50"
    with pytest.raises(ArchitectureError, match="nothing in resnet50_gn is open"):
        match(module.state_dict(), name="resnet50_gn+groupnorm")
    with pytest.raises(ArchitectureError, match="nothing in resnet18 is open"):
        match(small("resnet18").state_dict(), name="+groupnorm")


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("kind", ["pruned", "pruned with a bias", "weight norm", "weight norm, new", "spectral norm"])
def test_weights_in_parts(kind: str) -> None:
    module = small("resnet18")
    for layer in convolutions(module)[::2]:
        if kind.startswith("pruned"):
            prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
        elif kind == "spectral norm":
            parametrizations.spectral_norm(layer)
        else:
            (nn.utils.weight_norm if kind == "weight norm" else parametrizations.weight_norm)(layer)
    if kind == "pruned with a bias":
        prune.random_unstructured(module.fc, "bias", 0.5)  # type: ignore[no-untyped-call]
    module.eval()
    for loaded in saved(module.state_dict()):
        target = identify(loaded)
        assert (target.match.name, target.match.coverage) == ("resnet18", 1.0)
        assert any("pruning masks" in line for line in target.match.evidence) == kind.startswith("pruned")
        same(target, module)


def test_a_mask_beside_its_weight_is_applied() -> None:
    module = small("resnet18")
    weight = module.get_parameter("conv1.weight")
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(2)) > 0.5
    state = module.state_dict() | {"conv1.weight_mask": mask}
    with torch.no_grad():
        weight.mul_(mask)
    same(identify(state), module)


def folded(module: nn.Module) -> nn.Module:
    """Every BatchNorm that stands right behind a convolution, by execution, folded into it (what torch.fx does)."""
    traced = torch.fx.symbolic_trace(module)
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        before = node.args[0] if node.op == "call_module" else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        first, second = modules[before.target], modules[node.target]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            for path, new in ((before.target, fuse_conv_bn_eval(first, second)), (node.target, nn.Identity())):
                parent, _, leaf = str(path).rpartition(".")
                setattr(traced.get_submodule(parent), leaf, new)
    return traced


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_batch_normalisation_folded_into_convolutions(name: str) -> None:
    module = small(name)
    state = folded(module).state_dict()
    assert len(state) < len(module.state_dict())
    for loaded in saved(state):
        target = identify(loaded)
        assert target.match.name == name
        assert (target.match.coverage, target.match.doubts) == (1.0, ())
        same(target, module)


def test_folding_into_convolutions_that_have_a_bias() -> None:
    with torch.device("meta"):
        module = torchvision.models.vgg11_bn(num_classes=3)
    norms = {name for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    found = match({k: v for k, v in module.state_dict().items() if k.rpartition(".")[0] not in norms})
    assert (found.name, found.coverage, found.doubts) == ("vgg11_bn", 1.0, ())
    assert any("folded" in line for line in found.evidence)


ORDERS = {
    "channels last": ((0, 2, 3, 1), False),
    "rows, columns, inputs, outputs": ((2, 3, 1, 0), False),
    "and matrices turned": ((2, 3, 1, 0), True),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_kernels_stored_in_another_order(name: str, order: tuple[tuple[int, ...], bool]) -> None:
    module = small(name)
    axes, turned = order
    state = {
        k: v.permute(axes) if v.dim() == 4 else v.T if turned and v.dim() == 2 else v
        for k, v in module.state_dict().items()
    }
    for loaded in saved(state):
        target = identify(loaded)
        assert (target.match.name, target.match.classes, target.match.doubts) == (name, 3, ())
        same(target, module)


def test_gains_that_look_like_kernels_do_not_hide_the_order() -> None:
    """NFNets keep gains [C, 1, 1, 1] beside their kernels."""
    with torch.device("meta"):
        state = timm.create_model("eca_nfnet_l0").state_dict()
    assert match({k: v.permute(0, 2, 3, 1) if v.dim() == 4 else v for k, v in state.items()}).name == "eca_nfnet_l0"


def test_a_transformer_with_turned_matrices() -> None:
    module = scattered(timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32))
    state = {
        k: v.permute(2, 3, 1, 0) if v.dim() == 4 else v.T if v.dim() == 2 else v for k, v in module.state_dict().items()
    }
    target = identify(state)
    assert target.match.doubts == ()
    same(target, module, side=32)


def test_names_and_axes_of_flax() -> None:
    """Flax keeps running statistics in a collection of their own, and calls a kernel a kernel."""
    module = small("resnet18")
    leaves = {"running_mean": "mean", "running_var": "var"}
    state: State = {}
    for key, value in module.state_dict().items():
        path, _, leaf = key.rpartition(".")
        if value.dim() == 0:
            continue
        collection = "batch_stats" if leaf in leaves else "params"
        norm = leaf == "weight" and value.dim() == 1
        name = leaves.get(leaf, "scale" if norm else "kernel" if leaf == "weight" else leaf)
        turned = value.permute(2, 3, 1, 0) if value.dim() == 4 else value.T if value.dim() == 2 else value
        state[f"{collection}/{path.replace('.', '/')}/{name}"] = turned
    for loaded in saved(state):
        target = identify(loaded)
        assert (target.match.name, target.match.data_statistics) == ("resnet18", 9600)
        same(target, module)
