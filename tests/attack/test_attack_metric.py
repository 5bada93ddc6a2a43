"""The distance between statistics: measured on the prior, growing with the batch, plain where it is asked to be."""

from __future__ import annotations

import pytest
import torch
from small import SPEC, blobs, convnet, memorise, task_of

from reid_audit.attack.likelihood import likelihood
from reid_audit.attack.metric import GROWTH, LayerMetric, fit_metric, isotropic, prior_metrics, standardised, trusted
from reid_audit.attack.objectives import group_weights, residuals
from reid_audit.attack.refinement import MEASURED
from reid_audit.budget import unhurried
from reid_audit.network.batchnorm import image_moments
from reid_audit.preprocess import to_network


def rows_with(covariance: torch.Tensor, n: int) -> torch.Tensor:
    factor = torch.linalg.cholesky(covariance)
    drawn: torch.Tensor = torch.randn(n, len(covariance), generator=torch.Generator().manual_seed(0)) @ factor.T + 3.0
    return drawn


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_lengths_are_those_of_the_powered_covariance(power: float) -> None:
    rows = rows_with(torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.2], [0.0, 0.2, 0.5]]), 4000)
    metric = fit_metric(rows, power=power, ridge=0.01)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T).double())
    residual = torch.tensor([[1.0, -2.0, 0.5], [0.1, 0.0, 3.0]])
    gains = (values + 0.01 * values.mean()).pow(-power)
    expected = ((residual.double() @ vectors).square() * gains).sum(1) * 16**power / (gains * values).sum()
    assert metric.squared(residual, torch.tensor([16.0, 16.0])).double() == pytest.approx(expected, rel=1e-4)


def test_batches_of_the_prior_are_about_one_deviation_away() -> None:
    rows = rows_with(torch.diag(torch.linspace(0.1, 5.0, 20)), 3000)
    metric = fit_metric(rows, power=1.0, ridge=1e-4)
    means = rows.view(300, 10, 20).mean(1) - rows.mean(0)
    assert float(metric.squared(means, torch.full((300,), 10.0)).mean()) == pytest.approx(1.0, rel=0.1)


def test_fewer_images_than_directions_still_measure_all() -> None:
    rows = rows_with(torch.eye(30), 12)
    metric = fit_metric(rows)
    assert metric.axes.shape == (30, 11)
    seen, unseen = metric.axes[:, :1].T, torch.linalg.qr(metric.axes, mode="complete").Q[:, 11:12].T
    one = torch.ones(1)
    assert 0.0 < float(metric.squared(seen, one)) < float(metric.squared(unseen, one)) == pytest.approx(metric.rest)


def test_channels_that_never_move_are_finite() -> None:
    rows = torch.cat([rows_with(torch.eye(3), 50), torch.ones(50, 2)], dim=1)
    assert torch.isfinite(fit_metric(rows).squared(torch.ones(1, 5), torch.ones(1))).all()
    assert torch.isfinite(fit_metric(torch.ones(50, 2)).squared(torch.ones(1, 2), torch.ones(1))).all()


def test_every_layer_has_one() -> None:
    module, inputs = convnet().eval(), to_network(blobs(40, 5), SPEC, 1)
    channels = [layer.first.shape[1] for layer in image_moments(module, inputs[:1])]
    assert [len(m.axes) for m in prior_metrics(module, torch.split(inputs, 16), len(inputs), unhurried())] == [
        2 * c for c in channels
    ]


def test_layers_count_alike_but_for_their_noise() -> None:
    module, inputs = convnet().eval(), to_network(blobs(60, 5), SPEC, 1)
    layers = image_moments(module, inputs)

    def lengths(metrics: list[LayerMetric]) -> list[float]:
        rows = [standardised(layer).detach() for layer in layers]
        return [
            float(metric.squared(row - row.mean(0), torch.ones(len(row))).mean())
            for metric, row in zip(metrics, rows, strict=True)
        ]

    measured = prior_metrics(module, [inputs], len(inputs), unhurried())
    assert lengths(measured) == pytest.approx([1.0, 1.0, 1.0], rel=0.02)
    assert lengths(trusted(measured)) == pytest.approx([GROWTH, 1.0, 1.0 / GROWTH], rel=0.02)


def test_the_plain_distance_does_not_know_the_batch() -> None:
    layers = image_moments(convnet().eval(), to_network(blobs(4, 5), SPEC, 1))
    metric = isotropic([1e-2] * 3, layers)[0]
    residual = residuals(layers[0], group_weights(torch.zeros(4, dtype=torch.int64)))
    for batch in (4.0, 64.0):
        assert float(metric.squared(residual, torch.tensor([batch]))) == pytest.approx(
            100 * float(residual.square().sum())
        )


def test_no_few_directions_carry_the_energy_of_the_prior() -> None:
    """What the metric is for: along its own directions the plain distance is dominated by the leading ones."""
    task = task_of(memorise(convnet(), to_network(blobs(4, 1), SPEC, 1)), particles=(8,))
    objective = likelihood(task, MEASURED)
    with torch.no_grad():
        images = task.space.decode(task.space.sample_latents(8, torch.Generator().manual_seed(1)))
        layers = image_moments(task.target.module, task.inputs(images))
    shares = []
    for layer, metric in zip(layers, objective.metrics, strict=True):  # type: ignore[attr-defined]
        scores = (residuals(layer, group_weights(torch.zeros(8, dtype=torch.int64))) @ metric.axes).square()[0]
        plain, measured = scores / scores.sum(), scores * metric.gains / (scores * metric.gains).sum()
        shares.append((float(plain.topk(3).values.sum()), float(measured.topk(3).values.sum())))
    assert all(measured < plain for plain, measured in shares), shares
