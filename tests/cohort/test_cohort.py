"""Cohorts: torchvision's pixels, names that do not matter, and refusals that name the row or file."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from reid_audit.cohort import (
    Cohort,
    Frame,
    RawFilm,
    Source,
    load_cohort,
    overlap,
    parse_source,
    render,
    require_disjoint,
)
from reid_audit.errors import CohortError
from reid_audit.observer import Event, StageAdvanced, StageEnded, StageStarted
from reid_audit.preprocess import HALF, UNIT, to_network
from reid_audit.records import PreprocessSpec

MODES = {
    "nearest": transforms.InterpolationMode.NEAREST,
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "lanczos": transforms.InterpolationMode.LANCZOS,
    "box": transforms.InterpolationMode.BOX,
}


def film(seed: int, height: int = 40, width: int = 50) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def write_folder(folder: Path, names: list[str], patients: list[str], seeds: list[int], **columns: list[str]) -> Path:
    folder.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "patient_id", *columns])
        for i, (name, patient, seed) in enumerate(zip(names, patients, seeds, strict=True)):
            Image.fromarray(film(seed)).save(folder / name)
            writer.writerow([name, patient, *(column[i] for column in columns.values())])
    return folder


def load(path: Path, **options: Any) -> Cohort:
    said = {name: options.pop(name) for name in ("where", "strata", "label") if name in options}
    role = options.pop("role", "reference")
    return load_cohort(Source(path, **said), Frame(**{"spec": UNIT, "side": 16, **options}), role)


@pytest.mark.parametrize("interpolation", sorted(MODES))
@pytest.mark.parametrize(
    ("resize", "crop", "size"),
    [
        ("squash", "none", (40, 50)),
        ("shorter", "center", (41, 58)),
        ("shorter", "center", (58, 41)),
        ("none", "center", (33, 40)),
        ("none", "center", (11, 40)),
    ],
)
def test_spatial_steps_are_torchvisions(
    tmp_path: Path, interpolation: str, resize: str, crop: str, size: tuple[int, int]
) -> None:
    Image.fromarray(film(1, *size)).save(tmp_path / "a.png")
    steps: list[Any] = []
    if resize != "none":
        steps.append(transforms.Resize((16, 16) if resize == "squash" else 16, interpolation=MODES[interpolation]))
    if crop == "center":
        steps.append(transforms.CenterCrop(16))
    theirs = transforms.Compose([*steps, transforms.ToTensor()])(Image.open(tmp_path / "a.png"))
    spec = PreprocessSpec(resize=resize, crop=crop, interpolation=interpolation)  # type: ignore[arg-type]
    assert torch.equal(load(tmp_path, spec=spec).images[0], theirs)


@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
def test_what_is_kept_is_cut_out_before_resizing(tmp_path: Path, interpolation: str) -> None:
    pixels = film(1, 50, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cut = Image.fromarray(np.ascontiguousarray(pixels[5:45, 10:40]))
    theirs = transforms.Compose(
        [transforms.Resize((16, 16), interpolation=MODES[interpolation]), transforms.ToTensor()]
    )
    spec = PreprocessSpec(keep=(0.25, 0.1, 1.0, 0.9), interpolation=interpolation)  # type: ignore[arg-type]
    assert torch.equal(load(tmp_path, spec=spec).images[0], theirs(cut))


def test_of_a_part_below_one_pixel_a_pixel_is_kept() -> None:
    raw = RawFilm(pixels=film(1, 50, 40), kind="8-bit", bits=8, low=0.0, high=255.0)
    assert render(raw, PreprocessSpec(keep=(0.999, 0.999, 1.0, 1.0)), 16, 1).shape == (1, 16, 16)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (32, 32)])
def test_the_longer_edge_fits_and_the_rest_is_black(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.maximum(film(1, *size), 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    shown = load(tmp_path, spec=PreprocessSpec(resize="longer", crop="center", interpolation="nearest")).images[0, 0]
    height, width = (16 * edge // max(size) for edge in size)
    top, left = (16 - height) // 2, (16 - width) // 2
    assert bool((shown[top : top + height, left : left + width] > 0).all())
    assert int((shown > 0).sum()) == height * width


def test_colour_is_torchvisions(tmp_path: Path) -> None:
    Image.fromarray(np.stack([film(1), film(2), film(3)], axis=-1)).save(tmp_path / "a.png")
    opened = Image.open(tmp_path / "a.png")
    resized = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
    grey = transforms.Compose([transforms.Grayscale(), resized])
    assert torch.equal(load(tmp_path, channels=3).images[0], resized(opened))
    assert torch.equal(load(tmp_path).images[0], grey(opened))


def test_depths_and_formats_agree(tmp_path: Path) -> None:
    pixels = film(3, 16, 16)
    for suffix in ("png", "tif", "npy"):
        (tmp_path / f"eight_{suffix}").mkdir()
        (tmp_path / f"sixteen_{suffix}").mkdir()
    Image.fromarray(pixels).save(tmp_path / "eight_png" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "eight_tif" / "a.tif")
    np.save(tmp_path / "eight_npy" / "a.npy", pixels)
    wide = pixels.astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "sixteen_png" / "a.png")
    Image.fromarray(wide).save(tmp_path / "sixteen_tif" / "a.tiff")
    np.save(tmp_path / "sixteen_npy" / "a.npy", wide)
    expected = torch.from_numpy(pixels).float() / 255
    for folder in sorted(tmp_path.iterdir()):
        assert torch.allclose(load(folder).images[0, 0], expected, atol=1e-7, rtol=0), folder.name


def test_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 128, dtype=np.uint8)).save(tmp_path / "flat.jpg")
    Image.fromarray(np.tile(np.arange(20, dtype=np.uint8) * 12, (20, 1))).save(tmp_path / "ramp.jpeg", quality=95)
    means = load(tmp_path).images.mean((1, 2, 3))
    assert sorted(means.tolist()) == pytest.approx([114 / 255, 128 / 255], abs=0.02)


def test_tensors_as_the_network_saw_them_come_back(tmp_path: Path) -> None:
    films = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for channels, spec in ((1, HALF), (3, PreprocessSpec(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1)))):
        archive = tmp_path / f"seen{channels}.npz"
        np.savez(archive, images=to_network(films, spec, channels).numpy(), patient_id=np.array(list("aabbc")))
        cohort = load(archive, spec=spec)
        assert cohort.summary.patients == 3
        assert sorted(cohort.images.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(films.sum((1, 2, 3)).tolist()))
        with pytest.raises(CohortError, match="outside 0 to 1"):
            load(archive, spec=UNIT)


def test_float_films_in_the_unit_range_are_left_alone(tmp_path: Path) -> None:
    films = np.random.default_rng(0).random((4, 16, 16), dtype=np.float32)
    np.save(tmp_path / "films.npy", films)
    cohort = load(tmp_path / "films.npy", spec=HALF)
    assert np.array_equal(np.sort(cohort.images.numpy().ravel()), np.sort(films.ravel()))


def test_archive_columns(tmp_path: Path) -> None:
    films = np.stack([film(i, 16, 16) for i in range(4)])
    np.savez(
        tmp_path / "a.npz",
        images=films,
        patient_id=np.array([1, 1, 2, 3]),
        age=np.array([30.0, 30.0, np.nan, 51.5]),
        sex=np.array(["F", "F", "M", ""]),
        site=np.array(["x", "x", "y", "y"]),
    )
    cohort = load(tmp_path / "a.npz", where={"site": "y"}, strata=("site",), label="Sex")
    assert dict(zip(cohort.patients, cohort.labels, strict=True)) == {"2": "M", "3": ""}
    assert set(load(tmp_path / "a.npz").labels) == {""}
    with pytest.raises(CohortError, match="no column finding"):
        load(tmp_path / "a.npz", label="finding")
    assert set(cohort.patients) == {"2", "3"}
    assert np.isnan(cohort.ages[cohort.patients == "2"]).all()
    assert cohort.ages[cohort.patients == "3"].tolist() == [51.5]
    assert set(cohort.strata) == {"site=y"}
    assert cohort.summary.strata == ("site",)


def test_aliases_filters_strata_and_delimiters(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(film(i)).save(tmp_path / f"{i}.png")
    (tmp_path / "list.csv").write_text(
        "\ufeffImage Index;Patient ID;Patient Age;Patient Gender;View Position;Split\n"
        "0.png;a;058Y;female;PA;train\n1.png;a;58;F;AP;train\n2.png;b;;m;PA;TRAIN\n3.png;c;7;;PA;test\n"
    )
    cohort = load(tmp_path / "list.csv", where={"split": "train", "view position": "PA"}, strata=("view_position",))
    assert cohort.summary.patients == cohort.summary.images == 2
    assert dict(zip(cohort.patients, cohort.sexes, strict=True)) == {"a": "F", "b": "M"}
    assert cohort.ages[cohort.patients == "a"].tolist() == [58.0]
    assert set(cohort.strata) == {"view_position=PA"}
    assert load(tmp_path / "list.csv", where={"split": "train,test"}).summary.images == 4


def test_renaming_changes_nothing(tmp_path: Path) -> None:
    seeds, people, ages = [5, 6, 7, 8], ["x", "y", "x", "z"], ["30", "40", "30", "50"]
    first = load(write_folder(tmp_path / "one", ["a.png", "b.png", "c.png", "d.png"], people, seeds, age=ages))
    second = load(
        write_folder(
            tmp_path / "two",
            ["9.png", "1.png", "5.png", "2.png"],
            ["P3", "P1", "P9", "P1"],
            [8, 7, 6, 5],
            age=["50", "30", "40", "30"],
        )
    )
    assert first.summary == second.summary
    assert torch.equal(first.images, second.images)
    assert np.array_equal(first.ages, second.ages)
    assert np.array_equal(first.patient_index(), second.patient_index())
    regrouped = load(write_folder(tmp_path / "three", ["a.png", "b.png", "c.png", "d.png"], list("xyyz"), seeds))
    assert regrouped.summary.digest != first.summary.digest


def test_one_pixel_changes_the_digest(tmp_path: Path) -> None:
    digests = set()
    for value in (0, 1):
        pixels = film(1, 16, 16)
        pixels[3, 3] = value
        (tmp_path / str(value)).mkdir()
        Image.fromarray(pixels).save(tmp_path / str(value) / "a.png")
        digests.add(load(tmp_path / str(value)).summary.digest)
    assert len(digests) == 2


def test_ordering_keeps_films_with_their_people(tmp_path: Path) -> None:
    cohort = load(
        write_folder(tmp_path / "f", [f"{i}.png" for i in range(30)], [str(i) for i in range(30)], [*range(30)])
    )
    for image, patient in zip(cohort.images, cohort.patients, strict=True):
        expected = transforms.Resize((16, 16))(Image.fromarray(film(int(patient))))
        assert torch.equal(image, transforms.ToTensor()(expected))


def test_without_patient_ids_every_film_is_a_patient_and_that_is_said(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", ".hidden/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(film(len(name) + ord(name[0]))).save(tmp_path / name)
    cohort = load(tmp_path)
    assert sorted(cohort.patients) == ["a/1.png", "b/1.png"]
    assert not cohort.known_patients
    assert any("own patient" in note for note in cohort.notes)
    assert not cohort.summary.known_patients


def test_overlap_by_id_and_by_picture(tmp_path: Path) -> None:
    one = load(write_folder(tmp_path / "one", ["a.png", "b.png"], ["p", "q"], [1, 2]), side=32)
    others = load(write_folder(tmp_path / "two", ["a.png", "b.png"], ["r", "s"], [3, 4]), side=32)
    same_id = load(write_folder(tmp_path / "three", ["a.png"], ["p"], [5]), side=32)
    same_film = load(write_folder(tmp_path / "four", ["z.png"], ["elsewhere"], [2]), side=32)
    assert overlap(one, others) == 0
    assert overlap(one, same_id) == 1
    assert overlap(one, same_film) == 1
    require_disjoint(one, others)
    with pytest.raises(CohortError, match="1 patients are in both"):
        require_disjoint(one, same_film)


def test_overlap_survives_reencoding_and_ignores_unknown_ids(tmp_path: Path) -> None:
    smooth = Image.fromarray(film(9, 8, 8)).resize((128, 128), Image.Resampling.BICUBIC)
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        Image.fromarray(film(seed)).save(tmp_path / name / "0001.png")
    assert overlap(load(tmp_path / "a", side=32), load(tmp_path / "b", side=32)) == 0
    smooth.save(tmp_path / "a" / "s.png")
    smooth.resize((100, 100)).save(tmp_path / "b" / "t.jpg", quality=80)
    assert overlap(load(tmp_path / "a", side=32), load(tmp_path / "b", side=32)) == 1


def test_real_splits_are_disjoint(real_films: Path) -> None:
    target, holdout = (
        load_cohort(Source(real_films, {"split": split, "label": "No Finding"}), Frame(UNIT, 32), "reference")
        for split in ("target", "holdout")
    )
    assert overlap(target, holdout) == 0
    assert overlap(target, target) == target.summary.patients


@pytest.mark.parametrize(
    ("text", "path", "where"),
    [
        ("films", "films", {}),
        ("m.csv?split=holdout", "m.csv", {"split": "holdout"}),
        ("films?split=prior,target&view=PA", "films", {"split": "prior,target", "view": "PA"}),
    ],
)
def test_parse_source(text: str, path: str, where: dict[str, str]) -> None:
    assert parse_source(text) == (Path(path), where)


def test_parse_source_refuses_half_a_filter() -> None:
    with pytest.raises(CohortError, match="filter"):
        parse_source("films?split")


def test_folder_filter_uses_its_manifest(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", ["a.png", "b.png"], ["p", "q"], [1, 2], split=["x", "y"])
    assert load(folder, where={"split": "y"}).patients.tolist() == ["q"]
    assert load_cohort(Source(folder), Frame(UNIT, 8), "reference").images.shape == (2, 1, 8, 8)
    with pytest.raises(CohortError, match="no row") as refusal:
        load(folder, where={"split": "z"})
    assert "x, y" in refusal.value.closest
    with pytest.raises(CohortError, match="no column splitt"):
        load(folder, where={"splitt": "y"})


MANIFESTS = {
    "missing file": ("path,patient_id\na.png,p\ngone.png,q\n", "row 3 of manifest.csv names gone.png"),
    "duplicate": ("path,patient_id\na.png,p\nb.png,q\n./a.png,p\n", "row 4 of manifest.csv repeats"),
    "age": ("path,patient_id,age\na.png,p,old\n", "row 2 of manifest.csv has the age old"),
    "impossible age": ("path,patient_id,age\na.png,p,414\n", "row 2 of manifest.csv has the age 414"),
    "sex": ("path,patient_id,sex\na.png,p,7\n", "row 2 of manifest.csv has the sex 7"),
    "no id in a row": ("path,patient_id\na.png,p\nb.png,\n", "row 3 of manifest.csv has no patient id"),
    "no path column": ("name,patient_id\na.png,p\n", "no column for the image path"),
    "no rows": ("path,patient_id\n", "holds no images"),
    "empty": ("", "no column for the image path"),
    "unreadable": ("path\nbad.png\n", "cannot read the image"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifest_refusals_name_the_place(tmp_path: Path, case: str) -> None:
    text, message = MANIFESTS[case]
    for i, name in enumerate(("a.png", "b.png")):
        Image.fromarray(film(i)).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(CohortError, match=message) as refusal:
        load(tmp_path)
    assert all(refusal.value.lines())


def test_source_refusals(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="holds no images"):
        load(tmp_path)
    with pytest.raises(CohortError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(CohortError, match="neither images nor a manifest"):
        load(tmp_path / "model.pt")
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(CohortError, match="cannot read the image"):
        load(tmp_path / "x.npz")
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CohortError, match="cannot read the image"):
        load(tmp_path / "o.npy")
    np.save(tmp_path / "nan.npy", np.full((2, 16, 16), np.nan, dtype=np.float32))
    with pytest.raises(CohortError, match="cannot read the image"):
        load(tmp_path / "nan.npy")


def test_every_damaged_film_is_named_by_one_refusal(tmp_path: Path) -> None:
    for i in range(6):
        Image.fromarray(film(i)).save(tmp_path / f"{i}.png")
    for i in (1, 4):
        (tmp_path / f"{i}.png").write_bytes((tmp_path / f"{i}.png").read_bytes()[:300])
    with pytest.raises(CohortError, match="2 images that cannot be read") as refusal:
        load(tmp_path)
    assert all(name in refusal.value.closest for name in ("1.png", "4.png"))


def test_every_film_read_is_said(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(film(i)).save(tmp_path / f"{i}.png")
    events: list[Event] = []
    load(tmp_path, role="holdout", observer=SimpleNamespace(notice=events.append))
    stage = "reading hold-out films"
    steps = [StageAdvanced(stage, i + 1) for i in range(3)]
    assert events == [StageStarted(stage, 3), *steps, StageEnded(stage, "3 films")]


def test_blank_films_are_refused_when_they_prevail(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((20, 20), 9 * i, dtype=np.uint8)).save(tmp_path / f"flat{i}.png")
        Image.fromarray(film(i)).save(tmp_path / f"film{i}.png")
    assert load(tmp_path).summary.images == 6
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(tmp_path / "flat3.png")
    with pytest.raises(CohortError, match="4 of 7 images"):
        load(tmp_path)


def test_a_size_the_network_never_saw_is_refused(tmp_path: Path) -> None:
    Image.fromarray(film(1, 30, 60)).save(tmp_path / "a.png")
    with pytest.raises(CohortError, match="32 x 16 pixels after preprocessing"):
        load(tmp_path, spec=PreprocessSpec(resize="shorter"))


def test_dicom_without_pydicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(CohortError, match="pydicom is not installed") as refusal:
        load(tmp_path)
    assert "reid-audit[dicom]" in refusal.value.remedy


def test_names_of_files_are_no_ids(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (16, 16), dtype=np.uint8)).save(
            tmp_path / f"{index}.png"
        )
    unnamed = load_cohort(Source(tmp_path), Frame(PreprocessSpec(), 16), "reference")
    assert unnamed.named_patients() == []
    (tmp_path / "manifest.csv").write_text("path,patient_id\n0.png,a\n1.png,b\n2.png,b\n")
    named = load_cohort(Source(tmp_path), Frame(PreprocessSpec(), 16), "reference")
    assert sorted(named.named_patients()) == ["a", "b", "b"]
