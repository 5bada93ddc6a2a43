"""Membership: the films behind stored statistics are found, blind scores are not, and looking at many costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from phantom_cohorts import smooth_images
from scipy import stats
from torch import nn
from torch.nn import functional

from reid_audit.budget import Meter, OutOfTime, Pace
from reid_audit.network.explanation import NormalEquations, explain, explain_direction, stored_moments
from reid_audit.network.heads import decisions, residual, rows
from reid_audit.observer import Event
from reid_audit.records import Measured, Metric, Reason, Unmeasured, find
from reid_audit.score.membership.inference import (
    GRID,
    MEMBERSHIP,
    MembershipOutcome,
    membership,
    membership_control,
)
from reid_audit.score.membership.stationarity import head_equations
from reid_audit.score.patients import Owners

Floats = NDArray[np.float64]
CANDIDATES = 240


def _net(films: torch.Tensor) -> list[nn.Module]:
    """A random BatchNorm network whose running statistics are those of ``films`` (one batch, momentum 1)."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(1, 48, 3, padding=1),
        nn.BatchNorm2d(48, momentum=1.0),
        nn.ReLU(),
        nn.Conv2d(48, 96, 3, stride=2, padding=1),
        nn.BatchNorm2d(96, momentum=1.0),
        nn.ReLU(),
        nn.Conv2d(96, 192, 3, stride=2, padding=1),
        nn.BatchNorm2d(192, momentum=1.0),
    ]
    with torch.no_grad():
        nn.Sequential(*layers).train()(films)
    nn.Sequential(*layers).eval()
    return layers


def _blocks(layers: list[nn.Module], films: torch.Tensor, batch: int) -> list[tuple[Floats, Floats]]:
    blocks = []
    values = films
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                own = torch.cat([values.mean(dim=(2, 3)), values.square().mean(dim=(2, 3))], dim=1)
                positions = values.shape[-1] * values.shape[-2]
                stored = stored_moments(
                    layer.running_mean.double().numpy(), layer.running_var.double().numpy(), positions, batch
                )
                blocks.append((own.double().numpy(), stored))
            values = layer(values)
    return blocks


def _equations(layers: list[nn.Module], films: torch.Tensor, batch: int) -> NormalEquations:
    return NormalEquations.of_moments(_blocks(layers, films, batch))


def _directions(units: Floats, goal: Floats) -> NormalEquations:
    goal = goal / np.linalg.norm(goal)
    return NormalEquations(units @ units.T, units @ goal, 1.0)


def _patients(n: int) -> NDArray[np.str_]:
    return np.arange(n).astype(np.str_)


def _value(outcome: MembershipOutcome, metric: Metric) -> Measured:
    measurement = find(outcome.measurements, metric)
    assert isinstance(measurement, Measured)
    return measurement


@pytest.mark.parametrize("members", [8, 24])
def test_the_films_behind_the_statistics_are_found(members: int) -> None:
    films = smooth_images(CANDIDATES, np.random.default_rng(0))
    found = explain(_equations(_net(films[:members]), films, members))
    is_member = np.arange(CANDIDATES) < members
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.weights.min() >= 0
    assert found.weights[is_member].sum() > 0.9
    assert found.residual < 0.01
    assert found.explaining == pytest.approx(members, rel=0.25)
    outcome = membership(
        {"moments": found.evidence}, Owners(_patients(CANDIDATES), is_member), np.random.default_rng(1)
    )
    assert _value(outcome, Metric.MEMBERSHIP_AUC).value > 0.99
    rate = _value(outcome, Metric.MEMBERSHIP_TPR)
    assert rate.value > 0.9
    assert rate.low is not None
    assert rate.low > 0.05
    assert tuple(m.metric for m in outcome.measurements) == MEMBERSHIP


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_statistics_that_are_far_from_all_films_are_no_error(kind: type[np.floating[Any]]) -> None:
    """As of a network that saw one batch of noise: the weights go to a corner, and nothing is explained."""
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((12, 40)).astype(kind)
    goal = np.full(40, 1e9, dtype=kind)
    equations = NormalEquations(rows @ rows.T, rows @ goal, float(goal @ goal))
    found = explain(equations)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.weights.argmax() == (rows @ goal).argmax()
    assert found.residual > 0.9


def test_statistics_of_other_people_expose_nobody() -> None:
    """The same candidates, but the BatchNorm statistics recomputed on public films: scores fall to chance."""
    films = smooth_images(CANDIDATES, np.random.default_rng(0))
    public = smooth_images(32, np.random.default_rng(99))
    found = explain(_equations(_net(public), films, 32))
    is_member = np.arange(CANDIDATES) < 32
    outcome = membership(
        {"moments": found.evidence}, Owners(_patients(CANDIDATES), is_member), np.random.default_rng(1)
    )
    auc = _value(outcome, Metric.MEMBERSHIP_AUC)
    assert auc.low is not None
    assert auc.high is not None
    assert auc.low < 0.5 < auc.high or abs(auc.value - 0.5) < 0.12
    own = explain(_equations(_net(films[:32]), films, 32))
    assert found.residual > 10 * own.residual


def test_the_films_behind_a_direction_are_found() -> None:
    rng = np.random.default_rng(5)
    units = rng.standard_normal((120, 400))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    goal = rng.uniform(0.5, 1.5, 12) @ units[:12]
    evidence = explain_direction(_directions(units, goal))
    assert evidence[:12].min() > evidence[12:].max()
    assert _directions(units, goal).error(np.zeros(120)) == pytest.approx(1.0)


def test_gradients_of_a_head_are_compared_without_being_written_out() -> None:
    """r h^T of every image, written out and compared, beside the products of r and h."""
    torch.manual_seed(0)
    head, features = nn.Linear(7, 3), torch.randn(20, 7)
    logits = head(features).detach()
    own = residual("softmax", logits, decisions("softmax", logits))
    gradients = functional.normalize((own[:, :, None] * features[:, None, :]).flatten(1), dim=1).double().numpy()
    found = head_equations("softmax", head, features, logits)
    wanted = _directions(gradients, rows("softmax", head).detach().double().flatten().numpy())
    assert found.gram == pytest.approx(wanted.gram, abs=1e-6)
    assert found.linear == pytest.approx(wanted.linear, abs=1e-6)


def test_an_explanation_without_time_is_none() -> None:
    equations = NormalEquations(np.eye(4), np.ones(4) / 4, 0.25)
    with pytest.raises(OutOfTime):
        explain(equations, pace=Pace(Meter(0.0, None)))


def test_an_explanation_that_time_ends_counts_once_it_has_gone_far_enough() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 150)) * np.logspace(0, -3, 150)
    goal, notes = rows[:8].mean(axis=0), list[Event]()
    equations = NormalEquations(rows @ rows.T, rows @ goal, float(goal @ goal))

    def pace() -> Pace:
        """Two looks at the clock, one every 64 steps, and no more."""
        looks = iter(range(100))
        return Pace(Meter(1.5, None, clock=lambda: float(next(looks))), observer=SimpleNamespace(notice=notes.append))

    cut = explain(equations, least=64, pace=pace())
    assert len(notes) == 1
    assert cut.residual > explain(equations).residual
    assert cut.weights[:8].sum() > 0.9
    with pytest.raises(OutOfTime):
        explain(equations, least=10_000, pace=pace())


def test_stored_moments_undo_the_unbiased_variance() -> None:
    values = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    variance = values.transpose(0, 1).flatten(1).var(dim=1, correction=1).numpy()
    mean = values.mean(dim=(0, 2, 3)).numpy()
    expected = values.square().mean(dim=(0, 2, 3)).numpy()
    assert stored_moments(mean, variance, 25, 4)[3:] == pytest.approx(expected)


def test_the_most_telling_family_counts_and_looking_costs() -> None:
    rng = np.random.default_rng(2)
    n = 400
    is_member = np.arange(n) < 100
    telling = rng.standard_normal(n) + 3.0 * is_member
    alone = membership({"loss": telling}, Owners(_patients(n), is_member), np.random.default_rng(3))
    among = membership(
        {"margin": rng.standard_normal(n), "loss": telling, "stationarity": rng.standard_normal(n)},
        Owners(_patients(n), is_member),
        np.random.default_rng(3),
    )
    assert among.family == "loss"
    one, three = (_value(o, Metric.MEMBERSHIP_TPR) for o in (alone, among))
    assert one.value == three.value
    assert one.low is not None
    assert three.low is not None
    assert three.low < one.low
    assert [name for name, _, _ in among.by_family] == ["margin", "loss", "stationarity"]


def test_blind_scores_do_not_breach_and_can_be_clear() -> None:
    breached = cleared = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        families = {"loss": rng.standard_normal(600), "moments": rng.exponential(size=600)}
        outcome = membership(families, Owners(_patients(600), np.arange(600) < 300), rng, draws=100)
        rate = _value(outcome, Metric.MEMBERSHIP_TPR)
        assert rate.low is not None
        assert rate.high is not None
        breached += rate.low > 0.05
        cleared += rate.high <= 0.10
    assert breached == 0
    assert cleared >= 27


def test_the_curve_sits_on_the_fixed_grid_and_rises() -> None:
    rng = np.random.default_rng(4)
    outcome = membership({"loss": rng.standard_normal(300)}, Owners(_patients(300), np.arange(300) < 150), rng)
    curve = outcome.curves[0]
    assert curve.x == GRID
    assert all(a <= b for a, b in zip(curve.y, curve.y[1:], strict=False))
    assert curve.y[-1] == 1.0


def test_missing_sides_are_unmeasured() -> None:
    rng = np.random.default_rng(5)
    scores = {"loss": rng.standard_normal(120)}
    for is_member, reason in (
        (np.arange(120) < 60, Reason.TOO_FEW_HOLDOUT),
        (np.arange(120) < 1, Reason.TOO_FEW_REFERENCE),
    ):
        outcome = membership(scores, Owners(_patients(120), is_member), rng)
        assert all(isinstance(m, Unmeasured) and m.reason is reason for m in outcome.measurements)
    none = membership({}, Owners(_patients(120), np.arange(120) < 10), rng)
    assert all(isinstance(m, Unmeasured) for m in none.measurements)


def test_the_membership_control_is_the_best_familys_rate() -> None:
    rng = np.random.default_rng(6)
    is_canary = np.arange(200) < 8
    scores = rng.standard_normal(200) + 9.0 * (np.arange(200) < 6)
    control = membership_control({"loss": scores, "blind": rng.standard_normal(200)}, Owners(_patients(200), is_canary))
    assert isinstance(control, Measured)
    assert control.value == 0.75
    assert isinstance(membership_control({}, Owners(_patients(200), is_canary)), Unmeasured)


def test_fresh_splits_of_films_nobody_trained_on_expose_nobody() -> None:
    """Collective moments and margins of one network, films and sides drawn anew: no breach, no drift, no small p."""
    films = smooth_images(480, np.random.default_rng(11))
    layers = _net(smooth_images(32, np.random.default_rng(12)))
    blocks = _blocks(layers, films, 32)
    with torch.no_grad():
        direction = torch.randn(192, generator=torch.Generator().manual_seed(1))
        decided = nn.Sequential(*layers)(films).mean(dim=(2, 3)) @ direction
    areas, breached, small = [], 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(480)[:240]
        found = explain(NormalEquations.of_moments([(own[rows], stored) for own, stored in blocks]), steps=300)
        scores = {"moments": found.evidence, "margin": decided[rows].abs().double().numpy()}
        outcome = membership(scores, Owners(_patients(240), rng.permutation(240) < 120), rng, draws=100)
        areas.append(_value(outcome, Metric.MEMBERSHIP_AUC).value)
        breached += (_value(outcome, Metric.MEMBERSHIP_TPR).low or 0.0) > 0.05
        small += _value(outcome, Metric.MEMBERSHIP_MAX_P).value <= 0.05
    assert breached == 0
    assert small <= stats.binom.ppf(0.999, 40, 0.05)
    assert 0.45 < float(np.mean(areas)) < 0.55  # the larger of two areas, each with a standard deviation of 0.037


def test_each_training_patient_has_a_p_and_no_holdout_patient_has() -> None:
    rng = np.random.default_rng(7)
    is_member = np.arange(220) < 20
    outcome = membership({"margin": rng.standard_normal(220) + 9.0 * is_member}, Owners(_patients(220), is_member), rng)
    assert outcome.patient_p is not None
    assert outcome.is_member is not None
    assert np.isnan(outcome.patient_p[~outcome.is_member]).all()
    assert outcome.patient_p[outcome.is_member] == pytest.approx(np.full(20, 1 / 201))
