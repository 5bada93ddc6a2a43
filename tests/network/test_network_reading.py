"""One pass over many images: what it shows is what each image shows alone, and it stops where time ends."""

from __future__ import annotations

import pytest
import torch
from small import SPEC, blobs, convnet, target_of

from reid_audit.budget import Meter, OutOfTime, Pace, unhurried
from reid_audit.network import reading
from reid_audit.network.batchnorm import image_moments, statistics_layers
from reid_audit.network.gathering import GatheredMoments, Rows
from reid_audit.network.heads import classifier, features_and_logits
from reid_audit.network.reading import Inputs, batch_size, read, read_moments
from reid_audit.observer import Event, StageAdvanced, StageEnded, StageStarted
from reid_audit.preprocess import to_network


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)


class Ticking:
    """A clock that moves one second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """20 films in batches of 8, 8 and 4."""
    monkeypatch.setattr(reading, "MOST", 8)
    return Inputs(blobs(20, 1), lambda part: to_network(part, SPEC, 1))


def test_a_pass_in_parts_shows_what_one_over_all_shows(inputs: Inputs) -> None:
    target = target_of(convnet())
    whole = to_network(inputs.images[:], SPEC, 1)
    found = read(target, inputs, unhurried(), stage="s", features=True)
    for a, b in zip(image_moments(target.module, whole), found.moments, strict=True):
        assert torch.allclose(a.first, b.first, rtol=1e-4, atol=1e-6)
        assert torch.allclose(a.second, b.second, rtol=1e-4, atol=1e-6)
    head = classifier(target)
    assert head is not None
    with torch.no_grad():
        features, logits = features_and_logits(target.module, whole, head)
    assert found.features is not None
    assert found.logits is not None
    assert torch.allclose(found.features, features, rtol=1e-4, atol=1e-5)
    assert torch.allclose(found.logits, logits, rtol=1e-4, atol=1e-5)
    assert not head._forward_pre_hooks
    assert all(not layer._forward_pre_hooks for _, layer in statistics_layers(target.module))


def test_moments_alone_are_those_of_the_corrected_pass(inputs: Inputs) -> None:
    module = target_of(convnet()).module
    whole = image_moments(module, to_network(inputs.images[:], SPEC, 1), batches=torch.full((20,), 8.0))
    for a, b in zip(whole, read_moments(module, inputs, unhurried(), stage="s", trained_with=8), strict=True):
        assert torch.allclose(a.second, b.second, rtol=1e-4, atol=1e-6)
    assert read_moments(convnet(normalised=False), inputs, unhurried(), stage="s") == []


def test_progress_is_said_after_every_batch(inputs: Inputs) -> None:
    said = Heard()
    read(target_of(convnet()), inputs, Pace(Meter(None, None), said), stage="films")
    assert said.events == [
        StageStarted("films", 20), *(StageAdvanced("films", n) for n in (8, 16, 20)), StageEnded("films")
    ]  # fmt: skip


def test_a_pass_stops_before_the_batch_there_is_no_time_for(inputs: Inputs) -> None:
    said = Heard()
    pace = Pace(Meter(2.5, None, clock=Ticking()), said)
    with pytest.raises(OutOfTime, match="films"):
        read(target_of(convnet()), inputs, pace, stage="films")
    assert said.events[-1] == StageEnded("films", "16 of 20")


def test_large_images_pass_a_few_at_a_time() -> None:
    assert [batch_size(torch.empty(1, 1, side, side)) for side in (32, 96, 128, 224, 1024)] == [64, 64, 36, 11, 8]


def test_results_of_batches_lie_in_one_place_whatever_comes() -> None:
    """What is kept of a pass may not lie scattered through the memory that the next pass needs."""
    rows, parts = Rows(5), torch.split(torch.arange(10.0).view(5, 2), 2)
    assert rows.found() is None
    rows.add(parts[0])
    first = rows.found()
    assert first is not None
    for part in parts[1:]:
        rows.add(part)
    every = rows.found()
    assert every is not None
    assert torch.equal(every, torch.cat(parts))
    assert every.data_ptr() == first.data_ptr()
    with pytest.raises(RuntimeError):
        rows.add(parts[0])


def test_moments_of_other_layers_than_before_are_not_gathered(inputs: Inputs) -> None:
    layers = image_moments(target_of(convnet()).module, inputs.probe())
    gathered = GatheredMoments(2)
    assert gathered.found() == []
    gathered.add(layers)
    with pytest.raises(ValueError, match="zip"):
        gathered.add(layers[:-1])
