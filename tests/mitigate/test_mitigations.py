"""Each mitigation does what its sentence says, and nothing else: on small networks whose answers can be computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from small import SPEC, blobs, convnet, memorise, target_of
from torch import Tensor, nn

from reid_audit.arch.identify import identify
from reid_audit.arch.target import Target
from reid_audit.budget import Meter, OutOfTime, Pace, unhurried
from reid_audit.checkpoint import load_checkpoint
from reid_audit.errors import MitigationError
from reid_audit.mitigate.apply import mitigated
from reid_audit.mitigate.copy_file import write_copy
from reid_audit.mitigate.eight_bits import stepped
from reid_audit.mitigate.interface import Copy, Given, Public
from reid_audit.mitigate.noise_statistics import separation, weight_of_a_film
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.mitigate.rounding import rounded
from reid_audit.mitigate.statistics import absorb, recompute
from reid_audit.network.batchnorm import statistics_layers
from reid_audit.preprocess import to_network


def prepare(images: Tensor) -> Tensor:
    return to_network(images, SPEC, 1)


def films(count: int = 64, *, labels: str = "") -> Public:
    names = np.array([labels and f"{labels}{i % 2}" for i in range(count)])
    return Public(blobs(count, 5), names, "public films")


def given(public: Public | None = None, *, members: int | None = 16, pace: Pace | None = None) -> Given:
    return Given(prepare, 0, pace or unhurried(), films() if public is None else public, members)


def known(seed: int = 0) -> Target:
    """A small network that knows sixteen films by heart."""
    return target_of(memorise(convnet(seed), prepare(blobs(16, 1)), steps=100))


def answers(target: Target, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = target.module(prepare(images))
    return found


def statistics(module: nn.Module) -> list[Tensor]:
    return [layer.running_mean.clone() for _, layer in statistics_layers(module) if layer.running_mean is not None]


@pytest.mark.parametrize("name", MITIGATIONS)
def test_a_mitigation_says_what_it_is_and_leaves_the_original_alone(name: str) -> None:
    target = known()
    before = {key: value.clone() for key, value in target.module.state_dict().items()}
    copy, (applied,) = mitigated(target, [name], given())
    assert all(torch.equal(value, before[key]) for key, value in target.module.state_dict().items())
    assert applied.idea.endswith(".")
    assert applied.source
    assert applied.remains
    assert copy.done == (applied.done,)
    again, _ = mitigated(target, [name], given())
    pairs = zip(copy.target.module.state_dict().values(), again.target.module.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_absorbed_statistics_compute_the_same_and_are_those_of_nobody() -> None:
    target = known()
    images, before = blobs(8, 9), answers(target, blobs(8, 9))
    assert absorb(target.module, "test") == 3
    assert torch.allclose(answers(target, images), before, atol=1e-4)
    assert statistics_layers(target.module) == []


def test_absorbing_needs_scale_and_shift() -> None:
    module = nn.Sequential(nn.BatchNorm2d(4, affine=False))
    with torch.no_grad():
        module(torch.randn(8, 4, 3, 3))
    with pytest.raises(MitigationError):
        absorb(module, "test")


def test_recomputed_statistics_are_those_of_the_public_films() -> None:
    target, public = known(), films(64)
    recompute(target.module, public, given(public), "test")
    first = statistics(target.module)[0]
    with torch.no_grad():
        seen = target.module[0](prepare(public.images)).mean((0, 2, 3))  # type: ignore[index]
    assert torch.allclose(first, seen, atol=1e-4)
    assert not target.module.training


@pytest.mark.parametrize("name", ["recompute-bn", "fine-tune", "distil"])
def test_what_replaces_statistics_leaves_none_to_read(name: str) -> None:
    copy, (applied,) = mitigated(known(), [name], given())
    assert applied.effect == "replaces"
    assert statistics_layers(copy.target.module) == []


def test_recomputing_keeps_the_weights_and_distilling_none_of_them() -> None:
    target = known()
    kept, _ = mitigated(target, ["recompute-bn"], given())
    fresh, _ = mitigated(target, ["distil"], given())
    first, last = ("0.weight", "11.weight")
    assert torch.equal(kept.target.module.state_dict()[last], target.module.state_dict()[last])
    for key in (first, last):
        theirs, own = fresh.target.module.state_dict()[key].flatten(), target.module.state_dict()[key].flatten()
        assert abs(float(torch.corrcoef(torch.stack([theirs, own]))[0, 1])) < 0.5


def test_the_student_answers_as_its_teacher_does_on_public_films() -> None:
    target, public = known(), films(128)
    copy, _ = mitigated(target, ["distil"], given(public))
    same = answers(copy.target, public.images).argmax(1) == answers(target, public.images).argmax(1)
    assert float(same.float().mean()) > 0.7


def test_fine_tuning_teaches_labels_where_there_are_any() -> None:
    _, (own,) = mitigated(known(), ["fine-tune"], given())
    _, (labelled,) = mitigated(known(), ["fine-tune"], given(films(labels="class")))
    assert "its own answers" in own.done
    assert "their labels" in labelled.done


def test_folding_changes_no_answer_and_hides_the_layers() -> None:
    target = known()
    copy, (applied,) = mitigated(target, ["fold-bn"], given())
    images = blobs(8, 9)
    assert torch.allclose(answers(copy.target, images), answers(target, images), atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copy.target.module.modules())
    assert applied.effect == "hides"


def test_a_layer_before_its_convolution_cannot_be_folded() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        module(prepare(blobs(8, 2)))
    with pytest.raises(MitigationError, match="1 of 1"):
        mitigated(target_of(module), ["fold-bn"], given())


def test_noise_is_as_large_as_it_says_and_larger_for_fewer_patients() -> None:
    target = known()
    few, _ = mitigated(target, ["noise-bn"], given(members=16))
    many, _ = mitigated(target, ["noise-bn"], given(members=4000))

    def moved(copy: Copy) -> float:
        pairs = zip(statistics(copy.target.module), statistics(target.module), strict=True)
        return float(torch.cat([(a - b).abs() for a, b in pairs]).mean())

    assert moved(few) > 2.0 * moved(many) > 0.0
    several, _ = mitigated(target, ["noise-bn"], replace(given(members=4000), each=3))
    means = zip(*(statistics(each.target.module) for each in (several, many)), statistics(target.module), strict=True)
    assert all(torch.allclose(a - own, 3.0 * (b - own), atol=1e-5) for a, b, own in means)
    assert all(bool((v > 0).all()) for k, v in few.target.module.state_dict().items() if k.endswith("running_var"))


def test_the_noise_is_derived_from_weight_and_test() -> None:
    assert separation(0.05, 0.01) == pytest.approx(0.6815, abs=1e-3)
    assert weight_of_a_film(8, 0.1) == pytest.approx(1 / 8)
    large = 100_000
    assert weight_of_a_film(large, 0.1) == pytest.approx(0.1 / 8)
    batches = [0.1 / 8 * (1 - 0.1) ** (k * 4) for k in range(500)]
    assert weight_of_a_film(32, 0.1) == pytest.approx(sum(batches))


def test_noise_needs_the_number_of_training_films() -> None:
    with pytest.raises(MitigationError) as refused:
        mitigated(known(), ["noise-bn"], given(members=None))
    assert "--reference" in refused.value.remedy


def test_rounding_and_eight_bits() -> None:
    values = torch.tensor([0.0, 123456.0, -0.00098765, 1.0])
    assert torch.allclose(rounded(values, 3), torch.tensor([0.0, 123000.0, -0.000988, 1.0]))
    rows = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    on_grid = stepped(rows)
    assert all(len(row.unique()) <= 255 for row in on_grid)
    assert float((on_grid - rows).abs().max()) <= float(rows.abs().max()) / 127 / 2 + 1e-6
    assert torch.equal(stepped(torch.zeros(3)), torch.zeros(3))


def test_half_precision_refuses_what_it_cannot_hold() -> None:
    target = known()
    with torch.no_grad():
        target.module[0].weight.mul_(1e6)  # type: ignore[index]
    with pytest.raises(MitigationError, match="half precision"):
        mitigated(target, ["fp16"], given())


def test_without_a_head_there_are_features() -> None:
    copy, _ = mitigated(known(), ["drop-head"], given())
    assert copy.target.match.head == "features"
    assert answers(copy.target, blobs(2, 3)).shape == (2, 64)
    with pytest.raises(MitigationError):
        mitigated(copy.target, ["drop-head"], given())


@pytest.mark.parametrize("name", ["recompute-bn", "noise-bn", "fine-tune", "distil"])
def test_who_needs_public_films_says_so(name: str) -> None:
    with pytest.raises(MitigationError) as refused:
        mitigated(known(), [name], replace(given(), public=None))
    assert "--public" in refused.value.remedy


@pytest.mark.parametrize("name", ["recompute-bn", "fold-bn", "noise-bn"])
def test_without_statistics_there_is_nothing_to_change(name: str) -> None:
    with pytest.raises(MitigationError, match="nothing to change"):
        mitigated(target_of(convnet(normalised=False)), [name], given())


def test_few_public_films_are_not_taught() -> None:
    with pytest.raises(MitigationError, match="at least 32"):
        mitigated(known(), ["distil"], given(films(16)))


def test_a_budget_ends_a_training() -> None:
    meter = Meter(0.0, None)
    with pytest.raises(OutOfTime):
        mitigated(known(), ["distil"], given(pace=Pace(meter)))


@pytest.fixture(scope="module")
def resnet() -> Target:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=2)
    with torch.no_grad():
        module(torch.randn(8, 3, 32, 32))
    return identify(module.eval().state_dict(), side=32)


@pytest.mark.parametrize(
    ("name", "left"),
    [("recompute-bn", 0), ("fold-bn", 0), ("fp16", 9600), ("drop-states", 9600), ("drop-head", 9600)],
)
def test_the_copy_is_a_file_whose_network_is_known(name: str, left: int, resnet: Target, tmp_path: Path) -> None:
    """``left``: statistics the audit of the copy will find."""
    here = Given(lambda images: to_network(images, SPEC, 3), 0, unhurried(), _at(32), 16)
    copy, _ = mitigated(resnet, [name], here)
    path = tmp_path / "copy.safetensors"
    write_copy(copy, path)
    loaded = load_checkpoint(path)
    found = identify(loaded.tensors, side=32)
    assert found.match.data_statistics == left
    assert found.match.head == ("features" if name == "drop-head" else "softmax")
    if name == "fp16":
        assert dict(loaded.summary.dtypes)["float16"] > 100
        assert path.stat().st_size < 24_000_000


def test_what_was_said_of_the_network_is_said_of_its_copy(tmp_path: Path) -> None:
    torch.manual_seed(0)
    norm: Callable[[int], nn.Module] = lambda channels: nn.GroupNorm(16, channels)  # noqa: E731
    module = torchvision.models.resnet18(num_classes=2, norm_layer=norm).eval()
    target = identify(module.state_dict(), side=32, name="resnet18+groupnorm16")
    copy, _ = mitigated(target, ["drop-states"], given())
    write_copy(copy, tmp_path / "copy.safetensors", name="resnet18+groupnorm16")
    with pytest.raises(MitigationError, match="another network"):
        write_copy(copy, tmp_path / "other.safetensors")


def test_a_copy_that_would_be_another_network_is_not_kept(resnet: Target, tmp_path: Path) -> None:
    other = replace(resnet, module=torchvision.models.resnet18(num_classes=2, norm_layer=_doubled).eval())
    path = tmp_path / "copy.safetensors"
    with pytest.raises(MitigationError, match="another network"):
        write_copy(Copy(other), path)
    assert not path.exists()


class _Doubled(nn.BatchNorm2d):
    """Computes something else than its file says."""

    def forward(self, input: Tensor) -> Tensor:
        return 2.0 * super().forward(input)


_doubled: Callable[[int], nn.Module] = _Doubled


def _at(side: int) -> Public:
    images = torch.rand(48, 1, side, side, generator=torch.Generator().manual_seed(1))
    return Public(images, np.full(48, ""), "public films")
