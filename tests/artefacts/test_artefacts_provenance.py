"""The contamination check fires on planted overlap, and only then."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_audit.artefacts.provenance import (
    Declaration,
    Origin,
    check_overlap,
    hamming,
    joined,
    keyed_id,
    origin_of,
    perceptual_hashes,
)
from reid_audit.errors import PriorError
from reid_audit.prior.gaussian import GaussianPrior, fit_gaussian
from reid_audit.prior.loading import load_prior
from reid_audit.prior.patient_file import read_patient_file, write_patient_file


def films(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(n, 1, 12, 12, generator=generator), size=(40, 40), mode="bicubic").clamp(0, 1)


MINE, OTHERS = films(40, 0), films(30, 1)


def test_strangers_are_disjoint() -> None:
    found = check_overlap(origin_of(MINE, ["a"]), OTHERS, ["b"])
    assert (found.overlap, found.films, found.patients) == ("disjoint", 0, 0)
    assert set(found.evidence) == {"films", "patients"}


@pytest.mark.parametrize("known", ["hashes", "thumbnails"])
@pytest.mark.parametrize("change", ["none", "noise", "contrast", "resized"])
def test_planted_copies_are_found(known: str, change: str) -> None:
    whole = origin_of(MINE)
    origin = Origin(hashes=whole.hashes) if known == "hashes" else Origin(thumbnails=whole.thumbnails)
    copies = MINE[:3]
    if change == "noise":
        copies = copies + 0.02 * torch.randn(copies.shape, generator=torch.Generator().manual_seed(2))
    elif change == "contrast":
        copies = copies * 0.8 + 0.05
    elif change == "resized":
        copies = F.interpolate(F.adaptive_avg_pool2d(copies, 32), size=(40, 40), mode="bilinear")
    found = check_overlap(origin, torch.cat([OTHERS, copies]))
    assert (found.overlap, found.films) == ("overlap", 3)


def test_shared_patients_are_found_without_a_shared_film() -> None:
    found = check_overlap(origin_of(MINE, ["a", "b"]), OTHERS, ["b"] * 30)
    assert (found.overlap, found.films, found.patients) == ("overlap", 0, 1)


def test_a_prior_trained_on_from_another_has_seen_the_films_of_both() -> None:
    both = joined(origin_of(MINE, ["a"], public=True), origin_of(OTHERS, ["b"]))
    assert both is not None
    assert not both.public
    assert both.known(["a", "b", "c"]) == {"a", "b"}
    assert check_overlap(both, torch.cat([MINE[:2], OTHERS[:1]])).films == 3
    assert joined(None, origin_of(MINE)) is None


def test_unknown_origin_is_said() -> None:
    assert check_overlap(None, OTHERS).overlap == "unknown"
    assert check_overlap(Origin(), OTHERS).overlap == "unknown"
    assert check_overlap(Origin(patients=frozenset({"a"})), OTHERS, ["b"]).overlap == "unknown"


def test_hashes_ignore_brightness_and_contrast_and_count_bits() -> None:
    hashes = perceptual_hashes(MINE)
    assert hamming(hashes, perceptual_hashes(MINE * 0.7 + 0.1)).diagonal().max() <= 2
    assert hamming(hashes[:1], hashes[:1] ^ torch.tensor([[7, 0, -(2**63), 0]])).item() == 4


def fitted(*, public: bool) -> GaussianPrior:
    origin = origin_of(MINE, ["a"], public=public)
    return fit_gaussian(MINE, Declaration("t", ("t",), origin=origin), torch.Generator().manual_seed(0))


def test_public_origin_travels_and_private_origin_stays(tmp_path: Path) -> None:
    for public, wanted in ((True, "overlap"), (False, "unknown")):
        path = tmp_path / f"{public}.safetensors"
        fitted(public=public).save(path)
        prior = load_prior(path)
        assert isinstance(prior, GaussianPrior)
        assert check_overlap(prior.origin, MINE[:2]).overlap == wanted
        assert (b"origin" in path.read_bytes()) is public


@pytest.fixture
def patient_file(tmp_path: Path) -> Path:
    path = tmp_path / "prior.safetensors.patients.json"
    write_patient_file(path, origin_of(MINE, ["anna", "bob"]), key=b"0123456789abcdef", prior="a" * 64)
    return path


def test_patient_file_is_keyed_and_private(patient_file: Path) -> None:
    assert stat.S_IMODE(patient_file.stat().st_mode) == 0o600
    assert "anna" not in patient_file.read_text()
    assert keyed_id("anna", b"one key") != keyed_id("anna", b"another")


def test_patient_file_finds_people_and_films(patient_file: Path) -> None:
    origin = read_patient_file(patient_file, prior="a" * 64)
    assert origin.known(["bob", "carl"]) == {"bob"}
    strangers = check_overlap(origin, OTHERS, ["carl"] * 30)
    assert (strangers.overlap, set(strangers.evidence)) == ("disjoint", {"hashes", "patients"})
    assert check_overlap(origin, OTHERS, ["bob"] * 30).patients == 1
    assert check_overlap(origin, MINE[:2]).films == 2


@pytest.mark.parametrize("change", [{}, {"films": [[1, 2]]}, {"key": "no hex"}, {"patients": None}])
def test_damaged_patient_files_are_refused(change: dict[str, object], patient_file: Path) -> None:
    content = json.loads(patient_file.read_text()) | change if change else {}
    patient_file.write_text(json.dumps(content))
    with pytest.raises(PriorError, match="cannot be read"):
        read_patient_file(patient_file, prior="a" * 64)


def test_a_patient_file_serves_its_own_prior_only(patient_file: Path) -> None:
    with pytest.raises(PriorError, match="another prior"):
        read_patient_file(patient_file, prior="b" * 64)
