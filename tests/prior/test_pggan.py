"""The PGGAN networks: shapes, fade-in, norms and the file form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reid_audit.artefacts.storage import read_prior_file, write_prior
from reid_audit.errors import PriorError
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import (
    WIDTHS,
    Discriminator,
    Generator,
    PgganPrior,
    forward_flops,
    initialise,
    pixel_norm,
    prior_of,
    with_minibatch_deviation,
)
from reid_audit.records import PriorCard

TINY = (8, 6, 4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks() -> tuple[Generator, Discriminator]:
    network, critic = Generator(5, TINY), Discriminator(TINY)
    initialise(network, seeded())
    initialise(critic, seeded(1))
    return network, critic


def toy_prior() -> PgganPrior:
    card = PriorCard(id="toy", kind="pggan", sha256="0" * 64, side=4, declared_training_sets=("toy",))
    return prior_of(*networks(), card, 2, 1.0, None)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_have_their_sides(level: int) -> None:
    network, critic = networks()
    images = network(torch.randn(4, 5, generator=seeded()), level, 0.5)
    assert images.shape == (4, 1, 4 * 2**level, 4 * 2**level)
    assert critic(images, level, 0.5).shape == (4,)


def test_fade_in_starts_at_the_level_before() -> None:
    network, critic = networks()
    latents = torch.randn(4, 5, generator=seeded())
    before, start = network(latents, 1), network(latents, 2, 0.0)
    torch.testing.assert_close(start, before.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(critic(start, 2, 0.0), critic(before, 1))
    assert not torch.allclose(network(latents, 2, 1.0), start)


def test_equalised_weights_keep_the_scale() -> None:
    network = Generator(64, (64, 64, 32))
    initialise(network, seeded())
    images = network(torch.randn(64, 64, generator=seeded(2)))
    assert 0.5 < images.std() < 2


def test_pixel_norm_has_unit_mean_square() -> None:
    normed = pixel_norm(torch.randn(2, 7, 3, 3, generator=seeded()))
    torch.testing.assert_close(normed.square().mean(1), torch.ones(2, 3, 3))


def test_minibatch_deviation_sees_repeated_images() -> None:
    x = torch.randn(8, 3, 4, 4, generator=seeded())
    assert with_minibatch_deviation(x)[:, 3].min() > 0.1
    assert with_minibatch_deviation(x[:1].expand(8, -1, -1, -1))[:, 3].max() < 1e-3


def test_compact_at_128_pixels() -> None:
    widths = WIDTHS[128]
    with FlopCounterMode(display=False) as counter:
        Generator(128, widths)(torch.zeros(1, 128))
    assert counter.get_total_flops() <= 3e9
    assert forward_flops(widths, 128) == pytest.approx(counter.get_total_flops(), rel=0.2)


def test_decode_maps_to_unit_range_and_has_gradients() -> None:
    prior = toy_prior()
    latents = prior.sample_latents(3, seeded()).requires_grad_()
    images = prior.decode(latents)
    torch.testing.assert_close(images * 2 - 1, prior.network(latents))
    torch.autograd.backward(images.sum())
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_file_round_trip(tmp_path: Path) -> None:
    prior, path = toy_prior(), tmp_path / "prior.safetensors"
    latents = prior.sample_latents(3, seeded())
    prior.save(path, half=False)
    back = load_prior(path)
    assert isinstance(back, PgganPrior)
    images = prior.decode(latents)
    torch.testing.assert_close(back.decode(latents), images)
    realness = back.realness(images)
    assert realness is not None
    torch.testing.assert_close(realness, prior.realness(images))
    assert back.card.side == 16
    assert back.card.sha256 == read_prior_file(path).sha256


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    prior, path = toy_prior(), tmp_path / "prior.safetensors"
    prior.save(path)
    file = read_prior_file(path)
    tensors = {k: v for k, v in file.tensors.items() if k != "generator.blocks.0.conv0.weight"}
    write_prior(path, tensors, prior.card, network=file.metadata["network"])
    with pytest.raises(PriorError, match="damaged"):
        load_prior(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(PriorError, match="cannot be read"):
        load_prior(path)
