"""Preprocessing asked of the first statistics layers: networks whose statistics are exactly those of known films."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from reid_audit.arch.target import Target
from reid_audit.audit.preprocessing import Asked, Chosen, Specimens, choose_preprocessing
from reid_audit.audit.preprocessing_control import preprocessing_control
from reid_audit.audit.request import Films
from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.cohort import RawFilm, Source, render, sample_pooled
from reid_audit.cohort.sample import Sample
from reid_audit.network import information, preprocessing, remembered
from reid_audit.network.joint_fit import JointFit, joint_fit
from reid_audit.network.preprocessing import fit_preprocess
from reid_audit.network.search import FilmsAt, Ways, best_values
from reid_audit.network.stem import read_stems
from reid_audit.network.values import as_spec, fit_values, scale_and_shift
from reid_audit.preprocess import HALF, IMAGENET, NAMED, UNIT, to_network
from reid_audit.records import (
    ArchMatch,
    Measured,
    Metric,
    PreprocessFit,
    PreprocessPolicy,
    PreprocessSpec,
    Reason,
    Scaling,
    Unmeasured,
)
from reid_audit.score.preprocess_fit import preprocess_fit

ODD = PreprocessSpec(mean=(0.31,), std=(0.41,))
QUARTER = PreprocessSpec(mean=(0.5,), std=(0.25,))
APART = PreprocessSpec(mean=(0.62, 0.48, 0.35), std=(0.31, 0.24, 0.19))
VALUES = [*NAMED.values(), ODD, QUARTER, APART, PreprocessSpec(std=(1 / 255,))]


def raw_films(count: int, seed: int, side: int = 96) -> tuple[RawFilm, ...]:
    """Films of 8 bits with detail on every scale, less of it the finer, as natural images have; brighter and darker."""
    generator = torch.Generator().manual_seed(seed)
    films = 0.2 * torch.rand(count, 1, 1, 1, generator=generator) + torch.zeros(count, 1, side, side)
    for cells in (3, 6, 12, 24, 48, 96):
        noise = torch.rand(count, 1, cells, cells, generator=generator)
        smooth = functional.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)
        films = films + 1.8 / cells * smooth
    pixels = (255 * films.clamp(0, 1)).round().to(torch.uint8).numpy()[:, 0]
    return tuple(RawFilm(pixels=film, kind="8-bit", bits=8, low=0.0, high=255.0) for film in pixels)


def films_at(films: Sequence[RawFilm]) -> FilmsAt:
    return lambda spec, count: torch.stack([render(film, spec, spec.side or 0, 1) for film in films[:count]])


def statistics_of(module: nn.Module, inputs: Tensor) -> None:
    """Let every BatchNorm layer store exactly what ``inputs`` feed it."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        module.train()(inputs)


def remembering(films: Sequence[RawFilm], spec: PreprocessSpec, *, channels: int = 3, padding: int = 1) -> Target:
    """A network whose stored statistics are those of ``films`` under ``spec``."""
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    for inside, outside, size, stride in ((channels, 48, 5, 1), (48, 64, 3, 2), (64, 64, 3, 1), (64, 64, 3, 2)):
        layers += [nn.Conv2d(inside, outside, size, stride, padding), nn.BatchNorm2d(outside), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    statistics_of(module, to_network(films_at(films)(spec, len(films)), spec, channels))
    match = ArchMatch(name="small", library="tests", family="convnet", coverage=1.0, classes=2, channels=channels)
    return Target(module.eval().requires_grad_(False), match)


def at(spec: PreprocessSpec, side: int, **changes: object) -> PreprocessSpec:
    return spec.model_copy(update={"side": side, **changes})


def seen(target: Target, images: Tensor, spec: PreprocessSpec) -> tuple[Tensor, Tensor]:
    """Mean and variance of what arrives at the first statistics layer."""
    first = target.module[0]  # type: ignore[index]
    out = first(to_network(images, spec, target.match.channels)).transpose(0, 1).flatten(1).double()
    return out.mean(1), out.var(1, unbiased=False)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("spec", [UNIT, IMAGENET, ODD.model_copy(update={"invert": True})], ids=["unit", "net", "odd"])
def test_the_stem_knows_the_statistics_under_any_values(spec: PreprocessSpec, padding: int) -> None:
    target, images = (
        remembering(raw_films(6, 0), at(HALF, 32), padding=padding),
        films_at(raw_films(5, 1))(at(UNIT, 32), 5),
    )
    stems = read_stems(target, images)
    values = scale_and_shift(spec, 3)
    assert stems is not None
    assert values is not None
    mean, variance = seen(target, images, spec)
    stem = stems.averaged()
    shift = (mean.numpy() - stem.mean) / np.sqrt(stem.variance + stem.eps)
    scale = 0.5 * np.log((variance.numpy() + stem.eps) / (stem.variance + stem.eps))
    assert np.allclose(stem.deviations(values), np.concatenate([shift, scale]), atol=1e-3)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("spec", VALUES, ids=lambda spec: f"{spec.mean}-{spec.std}")
def test_values_come_back_from_the_statistics_of_the_same_films(spec: PreprocessSpec, invert: bool) -> None:
    films, truth = raw_films(12, 5), at(spec, 32, invert=invert)
    target = remembering(films, truth)
    found = best_values(target, PreprocessSpec(side=32), films_at(films)(truth, 12))
    assert found.invert is invert
    wanted, got = scale_and_shift(truth, 3), scale_and_shift(found, 3)
    assert wanted is not None
    assert got is not None
    assert np.allclose(got, wanted, rtol=0.02, atol=0.02 * np.abs(wanted).max())


def test_a_specification_survives_the_way_to_scale_and_shift_and_back() -> None:
    for spec in (ODD, APART, ODD.model_copy(update={"invert": True})):
        values = scale_and_shift(spec, 3)
        assert values is not None
        back = as_spec(values)
        assert np.allclose(back.mean, spec.mean, atol=1e-3)
        assert np.allclose(back.std, spec.std, atol=1e-3)
        assert back.invert is spec.invert
    assert scale_and_shift(APART, 1) is None


def test_a_known_convention_wins_where_it_fits_as_well() -> None:
    films = raw_films(12, 5)
    stems = read_stems(remembering(films, at(IMAGENET, 32)), films_at(films)(PreprocessSpec(side=32), 12))
    assert stems is not None
    assert fit_values(stems.averaged(), invert=False).spec.mean == IMAGENET.mean


@pytest.fixture(scope="module")
def chest(request: pytest.FixtureRequest) -> tuple[RawFilm, ...]:
    """Real films of 24 patients."""
    folder = request.getfixturevalue("real_films")
    return sample_pooled([Source(folder, {"split": "target"})], count=24, seed=1).films


def resnet(films: Sequence[RawFilm], spec: PreprocessSpec) -> Target:
    """A ResNet-18 whose stored statistics are those of ``films`` under ``spec``."""
    torch.manual_seed(1)
    module = torchvision.models.resnet18(num_classes=2)
    statistics_of(module, to_network(films_at(films)(spec, len(films)), spec, 3))
    match = ArchMatch(name="resnet18", library="torchvision", family="resnet", coverage=1.0, classes=2, channels=3)
    return Target(module.eval().requires_grad_(False), match)


@pytest.mark.parametrize(
    "geometry", [{"side": 64}, {"side": 40, "interpolation": "nearest"}], ids=["64 bilinear", "40 nearest"]
)
def test_side_and_filter_of_real_films_are_found_with_nothing_declared(
    chest: tuple[RawFilm, ...], geometry: dict[str, object]
) -> None:
    truth = QUARTER.model_copy(update=geometry)
    found = fit_preprocess(resnet(chest[:12], truth), films_at(chest), side=None)
    assert found is not None
    assert (found.best.side, found.best.interpolation) == (truth.side, truth.interpolation)
    assert np.allclose(found.best.std, QUARTER.std, rtol=0.06)
    assert found.best.invert is False


@pytest.mark.parametrize(
    "geometry",
    [{"side": 48}, {"side": 56, "resize_to": 64}],
    ids=["shorter side", "shorter side and a margin"],
)
def test_a_crop_of_oblong_films_is_found_with_nothing_declared(
    chest: tuple[RawFilm, ...], geometry: dict[str, object]
) -> None:
    """Under a squash another side fits better than the true one: framing and side are searched together."""
    oblong = tuple(replace(film, pixels=np.ascontiguousarray(film.pixels[20:236])) for film in chest)
    truth = QUARTER.model_copy(update={"resize": "shorter", "crop": "center", **geometry})
    found = fit_preprocess(resnet(oblong[:12], truth), films_at(oblong), side=None)
    assert found is not None
    same = {name: getattr(found.best, name) for name in ("side", "resize", "crop", "resize_to")}
    assert same == {name: getattr(truth, name) for name in same}


def test_films_that_are_remembered_as_they_are_were_not_augmented(
    chest: tuple[RawFilm, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def augmented(*_: object) -> tuple[PreprocessSpec, str]:
        raise AssertionError("the joint fit had explained the statistics")

    monkeypatch.setattr(preprocessing, "_augmented", augmented)
    found = fit_preprocess(resnet(chest[:12], at(QUARTER, 32)), films_at(chest), side=32)
    assert found is not None
    assert found.augmentation == "none"


def test_a_few_remembered_films_among_many_give_sharper_values_than_all_films_alike(chest: tuple[RawFilm, ...]) -> None:
    truth = at(ODD, 32)
    target, images = resnet(chest[:4], truth), films_at(chest)(truth, 24)
    joint = joint_fit(target, PreprocessSpec(side=32), images)
    assert joint is not None
    assert joint.share < 0.1
    assert joint.unexplained < 0.01

    def error(spec: PreprocessSpec) -> float:
        return abs(spec.std[0] - ODD.std[0]) + abs(spec.mean[0] - ODD.mean[0])

    assert error(joint.spec) < error(best_values(target, PreprocessSpec(side=32), images))


def test_ways_that_scale_each_film_by_itself_are_said_from_one_range(chest: tuple[RawFilm, ...]) -> None:
    generator = np.random.default_rng(4)
    films = []
    for film in chest[:16]:
        low, high = generator.uniform(0, 900), generator.uniform(2000, 4095)
        pixels = np.round(low + film.pixels.astype(np.float64) / 255 * (high - low)).astype(np.uint16)
        films.append(RawFilm(pixels=pixels, kind="integer", bits=12, low=0.0, high=4095.0))
    ways = (Scaling(by="bits"), Scaling(by="minmax"), Scaling(by="percentiles", limits=(1.0, 99.0)))
    for way, side in ((ways[0], 32), (ways[1], 32), (ways[1], None)):
        target = resnet(films, at(QUARTER, 32, scaling=way))
        found = fit_preprocess(target, films_at(films), side=side, ways=Ways(ways))
        assert found is not None
        assert (found.best.scaling, found.best.side) == (way, 32)


def test_without_statistics_or_an_affine_stem_nothing_is_fitted() -> None:
    films = raw_films(4, 1)
    target = remembering(films, at(HALF, 32))
    bare = nn.Sequential(*(layer for layer in target.module.children() if not isinstance(layer, nn.BatchNorm2d)))
    late = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    late.train()(torch.rand(4, 3, 32, 32))
    for module in (bare, late.eval()):
        assert fit_preprocess(Target(module, target.match), films_at(films), side=32) is None


def control(target: Target, films: Sequence[RawFilm], used: PreprocessSpec, side: int) -> Measured | Unmeasured:
    again = fit_preprocess(target, films_at(films), side=side)
    others = [] if again is None else [again.best]
    return preprocess_fit(target, films_at(films), [used, *others], count=len(films), rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [{"std": (0.5,)}, {"invert": True}, {"mean": (0.4,)}, {"side": 24}, {"interpolation": "nearest"}],
    ids=["std twice", "inverted", "mean", "another side", "another filter"],
)
def test_the_control_is_met_by_the_truth_and_missed_by_a_typo(
    chest: tuple[RawFilm, ...], wrong: dict[str, object]
) -> None:
    truth = at(QUARTER, 32)
    target = resnet(chest[:12], truth)
    right = control(target, chest[:12], truth, 32)
    mistaken = control(target, chest[:12], truth.model_copy(update=wrong), 32)
    assert isinstance(right, Measured)
    assert right.value < 0.5
    assert isinstance(mistaken, Measured)
    assert mistaken.value > 1.0


def test_films_that_the_network_never_saw_do_not_meet_the_control(chest: tuple[RawFilm, ...]) -> None:
    target = resnet(chest[:12], at(QUARTER, 32))
    noise = np.random.default_rng(0).integers(0, 256, (40, 96, 96), dtype=np.uint8)
    films = [RawFilm(pixels=film, kind="8-bit", bits=8, low=0.0, high=255.0) for film in noise]
    found = control(target, films, at(QUARTER, 32), 32)
    assert isinstance(found, Unmeasured) or found.value > 1.0
    if isinstance(found, Unmeasured):
        assert found.reason is Reason.PREPROCESS_UNEXPLAINED


class Ticking:
    """A clock on which every reading costs a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def paced(seconds: float) -> Pace:
    return Pace(Meter(seconds, None, clock=Ticking()))


def test_a_search_that_runs_out_of_time_returns_the_best_so_far_as_not_complete(chest: tuple[RawFilm, ...]) -> None:
    target = resnet(chest[:12], at(QUARTER, 32))
    whole = fit_preprocess(target, films_at(chest), side=None)
    part = fit_preprocess(target, films_at(chest), side=None, pace=paced(6.0))
    assert whole is not None
    assert part is not None
    assert whole.complete
    assert not part.complete
    assert 0 < len(part.candidates) < len(whole.candidates)
    assert part.best.side in {found.spec.side for found in part.candidates}


def test_a_joint_fit_that_explains_little_does_not_choose_the_geometry(
    chest: tuple[RawFilm, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it prefers: here a crop, with much of the statistics unexplained, or little. The share of their
    deviation, which is small for the crop each time, does not matter."""

    def preferring(unexplained: float) -> Callable[..., JointFit]:
        def fit(_target: Target, geometry: PreprocessSpec, *_: object) -> JointFit:
            return JointFit(geometry, unexplained, 0.1) if geometry.resize_to else JointFit(geometry, 0.04, 0.9)

        return fit

    target = resnet(chest[:12], at(QUARTER, 32))
    monkeypatch.setattr(remembered, "WORSE", 1e9)
    monkeypatch.setattr(remembered, "LIKELY", 99)
    monkeypatch.setattr(remembered, "joint_fit", preferring(0.03))
    found = fit_preprocess(target, films_at(chest), side=32)
    assert found is not None
    assert found.complete
    assert found.best.resize_to is None
    monkeypatch.setattr(remembered, "joint_fit", preferring(0.005))
    chosen = fit_preprocess(target, films_at(chest), side=32)
    assert chosen is not None
    assert chosen.best.resize_to is not None


def test_where_the_statistics_do_not_decide_the_answers_do(
    chest: tuple[RawFilm, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def joint(_target: Target, geometry: PreprocessSpec, *_: object) -> JointFit:
        return JointFit(geometry, 0.04, 0.9)

    def answered(_target: Target, images: Tensor, spec: PreprocessSpec) -> Tensor:
        classes = torch.arange(len(images)) % 2 if spec.resize_to else torch.zeros(len(images), dtype=torch.int64)
        return 9.0 * functional.one_hot(classes, 2)

    target = resnet(chest[:12], at(QUARTER, 32))
    monkeypatch.setattr(remembered, "joint_fit", joint)
    monkeypatch.setattr(information, "PLAUSIBLE", 1e9)
    plain = fit_preprocess(target, films_at(chest), side=32)
    monkeypatch.setattr(preprocessing, "outputs_under", answered)
    found = fit_preprocess(target, films_at(chest), side=32)
    assert plain is not None
    assert plain.best.resize_to is None
    assert found is not None
    assert found.best.resize_to is not None


def test_a_size_before_the_crop_keeps_its_proportion_to_a_declared_side(chest: tuple[RawFilm, ...]) -> None:
    found = at(QUARTER, 32, resize="shorter", crop="center", resize_to=37)
    fit = PreprocessFit(best=found, by="answers", augmentation="none", films=16, candidates=())
    asked = Asked(Specimens(raw=chest[:16]), fit)
    policy = PreprocessPolicy(declared=PreprocessSpec(side=224), values="inferred")
    assert choose_preprocessing(resnet(chest[:4], at(QUARTER, 32)), policy, asked).spec.resize_to == 259
    stated = PreprocessPolicy(declared=PreprocessSpec(side=224, crop="center", resize_to=256), values="inferred")
    assert choose_preprocessing(resnet(chest[:4], at(QUARTER, 32)), stated, asked).spec.resize_to == 256


def test_without_time_for_one_geometry_nothing_is_found(chest: tuple[RawFilm, ...]) -> None:
    with pytest.raises(OutOfTime):
        fit_preprocess(resnet(chest[:4], at(QUARTER, 32)), films_at(chest), side=None, pace=paced(0.5))


@pytest.mark.parametrize("seconds", [0.5, 6.0], ids=["no time", "time for a part"])
def test_a_control_without_time_for_its_search_is_not_measured(chest: tuple[RawFilm, ...], seconds: float) -> None:
    target = resnet(chest[:12], at(QUARTER, 32))
    chosen = Chosen(at(QUARTER, 32), "policy", None)
    drawn = Sample(chest[:16], np.array(["0"] * 16))
    films = Films(raw=lambda *_: drawn, reference=lambda _: pytest.fail("the raw films are enough"))
    found = preprocessing_control(target, chosen, films, np.random.default_rng(0), paced(seconds))
    assert found.measurement == Unmeasured(metric=Metric.PREPROCESS_FIT, reason=Reason.BUDGET)
