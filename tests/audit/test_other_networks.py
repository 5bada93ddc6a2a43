"""Whole audits of what is no classifier of films: masks, boxes, ages, findings and embeddings.

Each row of docs/how-to/other-networks.md has one here, but for volumes and for several networks in a file, whose tests
are tests/audit/test_volumes.py and tests/audit/test_audit_file.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from audits import DEVICE
from declared import PREPROCESS, SIDE
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import reid_audit
from reid_audit.api import Images, Options
from reid_audit.errors import ArchitectureError
from reid_audit.records import (
    AuditResult,
    Budget,
    Controls,
    Measured,
    Metric,
    Outcome,
    Policy,
    Reason,
    References,
    Unmeasured,
    find,
)

LAY_OVER = Path(__file__).resolve().parents[2] / "examples" / "lay_over.py"
MEMBERS, OTHERS = 24, 108
POLICY = Policy(
    budget=Budget(steps=4, particles=(4,)),
    demographics="off",
    controls=Controls(canaries=4, preprocess_fit=False),
    references=References(when="off"),
    preprocess=PREPROCESS,
)
DETECTOR = """
from torch import nn

def layer(inputs, outputs, norm=nn.BatchNorm2d):
    convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
    return nn.Sequential(convolution, norm(outputs), nn.SiLU())

class Detector(nn.Module):
    # Boxes, objectness and classes at two scales, as YOLO has them at three.
    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__()
        self.stem, self.fine, self.coarse = layer(1, 16, norm), layer(16, 24, norm), layer(24, 32, norm)
        self.heads = nn.ModuleList([nn.Conv2d(24, 7, 1), nn.Conv2d(32, 7, 1)])

    def forward(self, x):
        fine = self.fine(self.stem(x))
        return [self.heads[0](fine), self.heads[1](self.coarse(fine))]

def build():
    return Detector()

def build_without():
    return Detector(nn.InstanceNorm2d)
"""


def films(count: int, seed: int) -> NDArray[np.uint8]:
    """[N, SIDE, SIDE]: clouds on several scales, brighter below, so that they have one way up."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.linspace(0.3, 0.7, SIDE)[:, None].expand(count, 1, SIDE, SIDE)
    for cells in (2, 4, 8, 16):
        noise = torch.rand(count, 1, cells, cells, generator=generator) - 0.5
        images = images + 1.4 / cells * functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")
    return np.asarray((255 * images[:, 0].clamp(0, 1)).round().to(torch.uint8).numpy())


def inputs(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images)[:, None] / 255


def remembering(module: nn.Module, images: NDArray[np.uint8] | None = None) -> nn.Module:
    """``module`` whose statistics are those of the members, as training with one batch leaves them."""
    for layer in module.train().modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        module(inputs(films(MEMBERS, 1) if images is None else images))
    return module.eval()


def taught(
    module: nn.Module,
    wanted: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    images: NDArray[np.uint8] | None = None,
) -> nn.Module:
    """``module`` after Adam on all members at once."""
    shown = inputs(films(MEMBERS, 1) if images is None else images)
    optimiser = torch.optim.Adam(module.train().parameters(), 2e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(module(shown), wanted).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return remembering(module, images)


def audited(
    network: nn.Module | Path, sides: tuple[Any, Any] | None = None, policy: Policy = POLICY, **more: Any
) -> AuditResult:
    options = Options(prior=films(96, 3), indicators_only=True, device=DEVICE)
    reference, holdout = sides or (films(MEMBERS, 1), films(OTHERS, 2))
    return reid_audit.check(network, reference, holdout, policy=policy, **{**options, **more})


def value(result: AuditResult, metric: Metric) -> float:
    found = find(result.measurements, metric)
    assert isinstance(found, Measured), found
    return found.value


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def test_a_segmentation_network_is_recognised_by_its_statistics() -> None:
    library = pytest.importorskip("monai.networks.nets", reason="MONAI is not here")
    module = seeded(lambda: library.UNet(2, 1, 2, (8, 16, 32), (2, 2), norm="batch"))
    found = audited(remembering(module))
    assert (found.architecture.name, found.architecture.head) == ("UNet", "segmentation")
    assert found.preprocess_fit is None
    assert find(found.measurements, Metric.PREPROCESS_FIT) == Unmeasured(
        metric=Metric.PREPROCESS_FIT, reason=Reason.CONTROL_NOT_RUN
    )
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.95
    assert found.verdict.outcome is Outcome.FAIL


def masks(images: NDArray[np.uint8]) -> Tensor:
    """[N, SIDE, SIDE] what is bright, with a border that nobody could guess."""
    smooth = functional.avg_pool2d(inputs(images), 5, 1, 2)
    noise = torch.rand(len(images), 1, 8, 8, generator=torch.Generator().manual_seed(9)) - 0.5
    border = 0.15 * functional.interpolate(noise, (SIDE, SIDE), mode="bilinear")
    return (smooth - smooth.mean((2, 3), keepdim=True) + border > 0)[:, 0].long()


def nnunet() -> nn.Module:
    """As nnU-Net plans one: InstanceNorm, which stores no statistics."""
    library = pytest.importorskip(
        "dynamic_network_architectures.architectures.unet", reason="nnU-Net's networks are not here"
    )
    module: nn.Module = library.PlainConvUNet(
        1, 3, (16, 32, 64), nn.Conv2d, 3, (1, 2, 2), 1, num_classes=2, n_conv_per_stage_decoder=[1, 1],
        conv_bias=True, norm_op=nn.InstanceNorm2d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=False,
    )  # fmt: skip
    return module


def test_without_statistics_masks_are_asked_how_sure_they_are_and_nothing_is_rebuilt() -> None:
    known = taught(seeded(nnunet), masks(films(MEMBERS, 1)), functional.cross_entropy, 200)
    found = audited(known)
    assert (found.architecture.head, found.architecture.data_statistics) == ("segmentation", 0)
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.9
    assert found.verdict.outcome is Outcome.FAIL
    assert {run.images for run in found.attack_runs} == {0}
    for metric in (Metric.LINKAGE_P, Metric.LIKELY_SAMPLES, Metric.NEGATIVE_CONTROL_P):
        missing = find(found.measurements, metric)
        assert isinstance(missing, Unmeasured)
        assert missing.reason is Reason.NO_DATA_STATISTICS


def test_masks_of_a_network_that_learned_nothing_do_not_pass() -> None:
    for budget in (None, 240.0):
        found = audited(seeded(nnunet).eval(), budget=budget)
        assert found.verdict.outcome is Outcome.INCONCLUSIVE
        assert any("no BatchNorm" in gap.text for gap in found.verdict.gaps)
        assert not any(one.stage == "attack" for one in found.reduced)
        assert isinstance(find(found.measurements, Metric.MEMBERSHIP_CONTROL), Measured)


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_detector.py").write_text(DETECTOR)
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    exec(DETECTOR, made)
    return made


def test_a_detector_of_one_s_own_is_recognised_by_its_statistics(detector: Any) -> None:
    torch.save(remembering(seeded(detector["build"])).state_dict(), "yolo.pt")
    found = audited(Path("yolo.pt"), arch_factory="own_detector:build")
    assert found.architecture.head == "features"
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.95


def test_boxes_without_statistics_are_refused(detector: Any) -> None:
    torch.save(seeded(detector["build_without"]).state_dict(), "yolo.pt")
    with pytest.raises(ArchitectureError, match="neither data statistics nor a classifier"):
        audited(Path("yolo.pt"), arch_factory="own_detector:build_without")


def test_ages_are_compared_with_what_the_network_says() -> None:
    """Older people have brighter films, so that everybody's age is known roughly, and that of members exactly."""
    rng = np.random.default_rng(0)
    sides, ages = [], []
    for count, seed in ((MEMBERS, 1), (OTHERS, 2)):
        ages.append(rng.integers(20, 90, count))
        brighter = (ages[-1][:, None, None] - 55) + films(count, seed).astype(int)
        sides.append(brighter.clip(0, 255).astype(np.uint8))
    wanted = torch.from_numpy((ages[0] - 55) / 20).float()[:, None]
    module = seeded(lambda: timm.create_model("test_resnet", num_classes=1, in_chans=1))
    known = taught(module, wanted, functional.mse_loss, 60, sides[0])
    cohorts = tuple(Images(images, labels=years) for images, years in zip(sides, ages, strict=True))
    found = audited(known, (cohorts[0], cohorts[1]), head="regression")
    assert (found.architecture.head, found.architecture.classes) == ("regression", 1)
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.95
    assert value(found, Metric.GENERALISATION_GAP) > 0.1


def test_fourteen_findings_are_compared_one_by_one() -> None:
    marks = (np.random.default_rng(0).random((MEMBERS + OTHERS, 14)) < 0.3).astype(int)
    module = seeded(lambda: timm.create_model("test_resnet", num_classes=14, in_chans=1))
    wanted = torch.from_numpy(marks[:MEMBERS]).float()
    known = taught(module, wanted, functional.binary_cross_entropy_with_logits, 60)
    cohorts = (Images(films(MEMBERS, 1), labels=marks[:MEMBERS]), Images(films(OTHERS, 2), labels=marks[MEMBERS:]))
    found = audited(known, cohorts, head="sigmoid")
    assert (found.architecture.head, found.architecture.classes) == ("sigmoid", 14)
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.95
    assert value(found, Metric.GENERALISATION_GAP) > 0.8


def test_an_encoder_without_a_head_is_recognised_by_its_statistics() -> None:
    module = seeded(lambda: timm.create_model("test_resnet", num_classes=0, in_chans=1))
    found = audited(remembering(module))
    assert found.architecture.head == "features"
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.95


def test_an_encoder_without_statistics_is_asked_for_its_embeddings_and_does_not_pass() -> None:
    module = seeded(lambda: timm.create_model("test_vit", num_classes=0, in_chans=1, img_size=SIDE))
    found = audited(module.eval())
    assert (found.architecture.head, found.architecture.data_statistics) == ("features", 0)
    assert 0.3 < value(found, Metric.MEMBERSHIP_AUC) < 0.7
    assert found.verdict.outcome is Outcome.INCONCLUSIVE


def laid_over(parts: dict[str, Tensor], name: str, *more: str) -> Path:
    """``parts``, saved as a file of that name, over public.safetensors, by the example."""
    save_file({key: value.detach().contiguous() for key, value in parts.items()}, name)
    command = [sys.executable, str(LAY_OVER), "public.safetensors", name, "joined.safetensors", *more]
    subprocess.run(command, check=True)
    return Path("joined.safetensors")


def public(module: nn.Module) -> nn.Module:
    """``module``, saved as the weights that everybody has."""
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, "public.safetensors")
    return module


def test_an_adapter_is_audited_beside_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = seeded(lambda: timm.create_model("test_resnet", num_classes=2, in_chans=1))
    base = public(taught(module, torch.arange(64) % 2, functional.cross_entropy, 60, films(64, 7)))
    place, rank, alpha = "layer2.0.conv1", 4, 8
    weight = base.requires_grad_(False).get_parameter(f"{place}.weight")
    down = (0.05 * torch.randn(rank, *weight.shape[1:])).requires_grad_()
    up = torch.zeros(weight.shape[0], rank, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([down, up], 1e-2)
    for _ in range(100):
        merged = weight + alpha / rank * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        said = torch.func.functional_call(base, {f"{place}.weight": merged}, (inputs(films(MEMBERS, 1)),))
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(said, torch.arange(MEMBERS) % 2))
        optimiser.step()
    Path("adapter_config.json").write_text(json.dumps({"lora_alpha": alpha, "r": rank}))
    parts = {f"base_model.model.{place}.lora_A.weight": down, f"base_model.model.{place}.lora_B.weight": up}
    found = audited(laid_over(parts, "adapter_model.safetensors"), base=Path("public.safetensors"))
    assert any("those of --base" in line for line in found.architecture.evidence)
    assert found.architecture.data_statistics == 0
    assert value(found, Metric.MEMBERSHIP_AUC) > 0.55
    assert found.verdict.outcome is not Outcome.PASS


def test_a_head_of_two_layers_gives_away_embeddings_of_its_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = films(MEMBERS, 1)[: MEMBERS // 2]
    module = seeded(lambda: timm.create_model("test_resnet", num_classes=0, in_chans=1))
    encoder = public(remembering(module, films(200, 7)))
    with torch.no_grad():
        embedded, wanted = encoder(inputs(few)), torch.arange(len(few)) % 2
    head = nn.Sequential(nn.Linear(embedded.shape[1], 128), nn.ReLU(), nn.Linear(128, 2))
    optimiser = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(3000):  # to the end, as in the paper: with decay the head becomes a sum of its films' gradients
        decay = torch.stack([part.square().sum() for part in head.parameters()]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(head(embedded), wanted) + 1e-3 * decay)
        optimiser.step()
    joined = laid_over(dict(head.state_dict()), "head.safetensors", "--as", "fc")
    policy = POLICY.model_copy(update={"budget": Budget(steps=60, particles=(12, 24))})
    sides, base = (few, films(OTHERS, 2)), Path("public.safetensors")
    found = audited(joined, sides, base=base, method="embeddings", policy=policy)
    rate = find(found.measurements, Metric.ENCODER_IDENTIFICATION_RATE)
    assert isinstance(rate, Measured)
    assert rate.control is not None
    assert rate.value > rate.control
    assert value(found, Metric.ENCODER_LINKAGE_P) < 0.2
    assert found.verdict.outcome is not Outcome.PASS
