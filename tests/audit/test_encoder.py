"""A re-identification encoder adds what it finds, decides nothing where it has seen a cohort, and is refused in three
lines where it cannot embed films."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from audits import audit, policy, value
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.lab.draws import Drawn, People
from reid_audit.audit.encoder import encoder_of
from reid_audit.audit.request import AuditRequest
from reid_audit.budget import unhurried
from reid_audit.demo.phantom import phantom_cohort
from reid_audit.demo.targets import checkpoint_path, demo_case
from reid_audit.errors import ArchitectureError
from reid_audit.records import (
    EncoderCard,
    EncoderPolicy,
    Measured,
    Measurement,
    Metric,
    Policy,
    PreprocessSpec,
    Reason,
    Unmeasured,
    find,
)
from reid_audit.score.alone import Images
from reid_audit.score.encoder import ENCODER, Encoder, embeddings_of, encoder_linkage
from reid_audit.score.similarity import fit_match_space

CARD = EncoderCard(sha256="0" * 64, architecture="test", side=32, channels=1, dimensions=64)


class Centre(nn.Module):
    """The middle of a film at 8 px, less its mean: what people differ in, whatever frame they are in."""

    def __init__(self, brightness: float = 0.0) -> None:
        super().__init__()
        self.brightness = nn.Parameter(torch.tensor(brightness))

    def forward(self, images: Tensor) -> Tensor:
        small = nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)
        mean = small.mean(dim=1, keepdim=True)
        return torch.cat([(1 - self.brightness) * (small - mean), self.brightness * torch.cat([mean, 1 - mean], 1)], 1)


PUBLIC = phantom_cohort(64, side=32, seed=77, role="reference", films=(1, 1)).images[:]


def encoder(brightness: float = 0.0) -> Encoder:
    module, spec = Centre(brightness), PreprocessSpec()
    embedded = embeddings_of(module, PUBLIC, spec, CARD)
    return Encoder(module, spec, CARD, fit_match_space(embedded[:, :, None, None]))


def phantoms(members: int = 30, others: int = 150) -> People:
    films = phantom_cohort(members + others, side=32, seed=3, role="reference", films=(1, 1))
    return People(films.images[:], films.patients, np.arange(members + others) < members)


def copies(people: People, count: int) -> Tensor:
    """Reconstructions: faint copies of the first members, half somebody else."""
    strangers = phantom_cohort(count, side=32, seed=91, role="reference", films=(1, 1)).images[:]
    return 0.6 * people.images[:count] + 0.4 * strangers


def seen_by(by: Encoder, people: People, made: Tensor) -> dict[Metric, Measurement]:
    compared = people.beside(fit_match_space(PUBLIC))
    null = phantom_cohort(len(made), side=32, seed=55, role="reference", films=(1, 1)).images[:]
    images = Images(Drawn(made, torch.zeros(len(made))), Drawn(null, torch.zeros(len(null))), PUBLIC)
    found = encoder_linkage(compared, by, images, np.random.default_rng(0), level=0.1)
    assert tuple(m.metric for m in found.measurements) == ENCODER
    return {m.metric: m for m in found.measurements}


def test_copies_of_training_films_are_found_and_strangers_are_not() -> None:
    people = phantoms()
    found = seen_by(encoder(), people, copies(people, 12))
    p = found[Metric.ENCODER_LINKAGE_P]
    assert isinstance(p, Measured)
    assert p.value <= 0.01
    assert not p.indicator
    rate = found[Metric.ENCODER_IDENTIFICATION_RATE]
    assert isinstance(rate, Measured)
    assert rate.value > 5 * (rate.control or 0.0)
    nobody = phantom_cohort(12, side=32, seed=92, role="reference", films=(1, 1)).images[:]
    null = seen_by(encoder(), people, nobody)[Metric.ENCODER_LINKAGE_P]
    assert isinstance(null, Measured)
    assert null.value > 0.05


def test_an_encoder_that_tells_the_cohorts_apart_decides_nothing() -> None:
    people = phantoms()
    bright = people.images.clone()
    bright[torch.from_numpy(people.is_member)] = (0.8 * bright[torch.from_numpy(people.is_member)] + 0.2).clamp(0, 1)
    found = seen_by(encoder(0.9), replace(people, images=bright), copies(people, 12))
    assert all(m.indicator for m in found.values() if isinstance(m, Measured))


def asked(file: Path, **table: object) -> AuditRequest:
    chosen = Policy(encoder=EncoderPolicy(checkpoint=file, **table))  # type: ignore[arg-type]
    return AuditRequest(checkpoint=file, policy=chosen, policy_sha256="0" * 64)


def embedding(path: Path, *, constant: bool = False) -> Path:
    """A ResNet-18 without a classifier, as it is drawn."""
    torch.manual_seed(0)
    state = {name: t.clone() for name, t in resnet18().state_dict().items() if not name.startswith("fc.")}
    if constant:
        state["conv1.weight"].zero_()
    save_file(state, path)
    return path


IMAGES = phantom_cohort(20, side=32, seed=1, role="reference", films=(1, 1)).images[:]


@pytest.mark.parametrize(
    ("kind", "table", "what", "remedy"),
    [
        ("classifier", {}, "outputs: answers, not an embedding", "without its classifier"),
        ("constant", {"values": "unit"}, "says the same of every film", "check the file"),
        ("unknown", {}, "is no known network", "leave --encoder out"),
        ("no statistics", {}, "does not tell which grey values", "[encoder] values"),
    ],
)
def test_what_cannot_embed_films_is_refused(
    tmp_path: Path, kind: str, table: dict[str, object], what: str, remedy: str
) -> None:
    file = tmp_path / "encoder.safetensors"
    if kind == "classifier":
        file = checkpoint_path("cnn")
    elif kind == "constant":
        embedding(file, constant=True)
    elif kind == "unknown":
        save_file({"a.weight": torch.ones(3, 5), "b.weight": torch.ones(7, 3)}, file)
    else:
        embedding(file)
        # without statistics of films: those of a network that was never fed
    with pytest.raises(ArchitectureError) as refusal:
        encoder_of(asked(file, **table), IMAGES, PreprocessSpec(), torch.device("cpu"), unhurried())
    lines = refusal.value.lines()
    assert what in lines[0]
    assert remedy in lines[2]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), RuntimeError),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), torch.OutOfMemoryError),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ArchitectureError),
    ],
)
def test_a_want_of_memory_in_the_trial_is_no_fault_of_the_encoder(
    tmp_path: Path, error: RuntimeError, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Tensor:
        raise error

    file = embedding(tmp_path / "encoder.safetensors")
    monkeypatch.setattr("reid_audit.audit.encoder.embeddings_of", fail)
    with pytest.raises(raised) as seen:
        encoder_of(asked(file, values="unit"), IMAGES, PreprocessSpec(), torch.device("cpu"), unhurried())
    assert str(error) in (str(seen.value), getattr(seen.value, "closest", ""))


def test_no_encoder_is_none_and_a_sound_one_is_described(tmp_path: Path) -> None:
    request = AuditRequest(checkpoint=tmp_path, policy_sha256="0" * 64)
    assert encoder_of(request, IMAGES, PreprocessSpec(), torch.device("cpu"), unhurried()) is None
    file = embedding(tmp_path / "encoder.safetensors")
    made = encoder_of(asked(file, values="unit", side=32), IMAGES, PreprocessSpec(), torch.device("cpu"), unhurried())
    assert made is not None
    assert (made.card.architecture, made.card.side, made.card.dimensions) == ("resnet18", 32, 512)
    assert made.embed(IMAGES).norm(dim=1).sub(1).abs().max() < 1e-5


def test_a_whole_audit_with_an_encoder(tmp_path: Path) -> None:
    file = embedding(tmp_path / "encoder.safetensors")
    table = EncoderPolicy(checkpoint=file, values="unit", side=32)
    found = audit(demo_case("overfit_cnn"), policy(steps=3, encoder=table))
    assert value(found, Metric.ENCODER_LINKAGE_P).n == value(found, Metric.LINKAGE_P).n
    assert found.result.encoder is not None
    assert found.result.encoder.found is not None
    assert found.evidence is not None
    assert {row.scorer for row in found.evidence.identification} == {"match space", "encoder"}
    assert find(
        audit(demo_case("overfit_cnn"), policy(steps=1, particles=(2,))).result.measurements, Metric.ENCODER_LINKAGE_P
    ) == Unmeasured(metric=Metric.ENCODER_LINKAGE_P, reason=Reason.NO_ENCODER)
