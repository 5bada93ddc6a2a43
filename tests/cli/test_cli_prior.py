"""``reid-audit prior`` as a user meets it: what it writes and names, what it refuses, what ``check`` makes of it."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from declared import NOT_SEARCHED
from phantom_files import write_phantom
from PIL import Image
from safetensors.torch import save_file

from reid_audit.cli import exit_code
from reid_audit.demo.targets import checkpoint_path
from reid_audit.prior import loading
from reid_audit.prior.gaussian import GaussianPrior
from reid_audit.prior.loading import load_prior
from reid_audit.prior.pggan import PgganPrior
from reid_audit.records import PriorCard

SHIPPED = Path(loading.__file__).parent / "data"


def run(*args: str | Path) -> int:
    return exit_code([str(argument) for argument in args])


def refused(capsys: pytest.CaptureFixture[str], code: int, *args: str | Path) -> str:
    """The three lines of a refusal."""
    capsys.readouterr()
    assert run(*args) == code
    said = capsys.readouterr().err
    lines = said.strip().splitlines()[-3:]
    assert [line.split(":")[0] for line in lines] == ["refused" if code == 5 else "not audited", "closest", "help"]
    assert "internal error" not in said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_phantom(folder / "mine", 24, side=32, seed=1, films=(1, 1))
    write_phantom(folder / "others", 24, side=32, seed=2, films=(1, 1))
    return folder


@pytest.fixture
def private(films: Path, tmp_path: Path) -> Path:
    """A prior of films that are not public."""
    path = tmp_path / "prior.safetensors"
    assert run("prior", "fit", films / "mine", "--out", path, "--resolution", "40") == 0
    return path


def test_a_private_prior_names_nobody_and_its_patient_file_is_keyed(private: Path, films: Path) -> None:
    beside = private.with_name("prior.safetensors.patients.json")
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) != 0o600
    for content in (private.read_bytes(), beside.read_bytes()):
        assert b"phantom1-" not in content
    kept = json.loads(beside.read_text())
    assert len(kept["patients"]) == len(set(kept["patients"])) == 24
    assert len(kept["films"]) == 24
    assert len(bytes.fromhex(kept["key"])) == 32
    assert run("prior", "fit", films / "mine", "--out", private, "--resolution", "40") == 0
    assert json.loads(beside.read_text())["key"] != kept["key"]


def test_a_public_prior_carries_its_ids_and_needs_no_patient_file(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "public.safetensors"
    source = f"{films / 'mine' / 'manifest.csv'}?sex=M"
    assert run("prior", "fit", source, "--out", path, "--resolution", "16", "--public", "--licence", "CC0") == 0
    prior = load_prior(path)
    assert isinstance(prior, GaussianPrior)
    assert prior.origin is not None
    assert all(patient.startswith("phantom1-") for patient in prior.origin.patients)
    assert (prior.card.declared_training_sets, prior.card.licence) == (("mine (sex: M)",), "CC0")
    assert list(tmp_path.iterdir()) == [path]


def test_file_names_are_not_patients(films: Path, tmp_path: Path) -> None:
    path = tmp_path / "public.safetensors"
    assert run("prior", "fit", films / "mine" / "images", "--out", path, "--resolution", "16", "--public") == 0
    prior = load_prior(path)
    assert isinstance(prior, GaussianPrior)
    assert prior.origin is not None
    assert not prior.origin.patients


@pytest.mark.parametrize(("known", "words"), [(True, "has seen films"), (False, "does not say what it was trained on")])
def test_check_caps_at_inconclusive_and_names_the_overlap(
    known: bool, words: str, private: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reid-audit.toml").write_text(
        "[references]\nwhen = 'off'\n[budget]\nsteps = 1\nparticles = [2]\n" + NOT_SEARCHED
    )
    if not known:
        private.with_name("prior.safetensors.patients.json").unlink()
    mine = ("--reference", films / "mine", "--prior", private)
    assert run("check", checkpoint_path("cnn"), *mine, "--out", "out", "--quiet", "--indicators-only") == 4
    report = json.loads((tmp_path / "out" / "latest" / "report.json").read_text())
    assert report["prior"]["overlap"] == ("overlap" if known else "unknown")
    assert words in json.dumps(report["verdict"])
    assert "phantom1-" not in (tmp_path / "out" / "latest" / "report.html").read_text()


def test_the_patient_file_of_another_prior_is_refused(
    private: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.safetensors"
    assert run("prior", "fit", films / "others", "--out", other, "--resolution", "16") == 0
    strange = private.with_name("prior.safetensors.patients.json")
    model = checkpoint_path("cnn")
    said = refused(capsys, 3, "check", model, "--side", "32", "--prior", other, "--prior-patients", strange)
    assert "belongs to another prior" in said
    strange.write_text("{}")
    assert "cannot be read" in refused(capsys, 3, "check", model, "--side", "32", "--prior", private)
    assert run("check", model, "--prior", films / "mine", "--prior-patients", strange) == 2


def test_train_writes_a_file_resumes_and_overwrites_nothing(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "prior.safetensors"
    command = ("prior", "train", films / "mine", "--out", out, "--resolution", "32", "--quiet")
    assert run(*command, "--steps", "2") == 0
    assert (out.parent / "prior.train" / "state.pt").exists()
    assert stat.S_IMODE(out.with_name("prior.safetensors.patients.json").stat().st_mode) == 0o600
    first = load_prior(out)
    assert isinstance(first, PgganPrior)
    assert (first.card.id, first.card.images, first.origin) == ("mine", 24, None)
    assert "--resume" in refused(capsys, 3, *command, "--steps", "3")
    assert "another seed" in refused(capsys, 3, *command, "--steps", "3", "--resume", "--seed", "1")
    assert run(*command, "--steps", "3", "--resume") == 0
    assert "3 steps" in capsys.readouterr().out
    second = out.with_name("second.safetensors")
    more = ("prior", "train", films / "others", "--out", second, "--resolution", "32", "--quiet", "--steps", "1")
    assert run(*more, "--start", out) == 0
    assert load_prior(second).card.declared_training_sets == ("mine", "others")
    assert not second.with_name("second.safetensors.patients.json").exists()
    gaussian = SHIPPED / "gaussian-64.safetensors"
    assert "a pggan is wanted" in refused(capsys, 3, *more, "--resume", "--start", gaussian)


def test_train_into_a_folder_and_wrong_options(films: Path, tmp_path: Path) -> None:
    command = ("prior", "train", films / "mine", "--out", tmp_path / "run", "--resolution", "32", "--quiet")
    assert run(*command, "--budget", "soon") == 2
    assert run(*command, "--resolution", "48") == 2
    assert run(*command, "--budget", "1s", "--steps", "1") == 0
    assert load_prior(tmp_path / "run" / "prior.safetensors").card.kind == "pggan"


def bad(kind: str, folder: Path, films: Path) -> tuple[tuple[str | Path, ...], str]:
    """Arguments of a command that must be refused, and a word of the refusal."""
    out = folder / "out.safetensors"
    prior = folder / "prior.safetensors"
    if kind == "empty folder":
        return ("fit", folder, "--out", out), "holds no images"
    if kind == "three films":
        for path in sorted((films / "mine" / "images").iterdir())[:3]:
            (folder / path.name).write_bytes(path.read_bytes())
        return ("fit", folder, "--out", out), "at least 8"
    if kind == "three films to train on":
        for path in sorted((films / "mine" / "images").iterdir())[:3]:
            (folder / path.name).write_bytes(path.read_bytes())
        return ("train", folder, "--out", out, "--resolution", "32", "--steps", "1"), "too few patients"
    if kind == "out below a file":
        (folder / "notes.txt").write_text("x")
        return ("fit", films / "mine", "--out", folder / "notes.txt" / "prior.safetensors"), "cannot be written"
    if kind == "out is a folder":
        return ("fit", films / "mine", "--out", folder), "cannot be written"
    if kind == "no such prior":
        return ("info", folder / "none.safetensors"), "cannot be read"
    if kind == "truncated prior":
        prior.write_bytes((SHIPPED / "gaussian-64.safetensors").read_bytes()[:100_000])
        return ("sample", prior, "--out", folder / "grid.png"), "cannot be read"
    if kind == "unknown layout":
        save_file({"conv1.weight": torch.zeros(3)}, prior)
        return ("info", prior), "known layout"
    save_file({"latent_linear.0.module.weight": torch.zeros(64, 4)}, prior)
    return ("info", prior), "no tensor init_conv.0.module.weight"


@pytest.mark.parametrize(
    "kind",
    [
        "empty folder",
        "three films",
        "three films to train on",
        "out below a file",
        "out is a folder",
        "no such prior",
        "truncated prior",
        "unknown layout",
        "half a foreign layout",
    ],
)
def test_bad_input_gets_three_lines(kind: str, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args, word = bad(kind, tmp_path, films)
    assert word in refused(capsys, 3, "prior", *args)


@pytest.mark.parametrize("name", ["generator.pth", "prior.safetensors"])
def test_a_pickled_generator_is_refused_unread(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    torch.save({"latent_linear.0.module.weight": torch.zeros(64, 4)}, path)
    for command in (("prior", "info", path), ("prior", "sample", path, "--out", tmp_path / "grid.png")):
        assert "pickle" in refused(capsys, 5, *command)
    assert "pickle" in refused(capsys, 5, "check", checkpoint_path("cnn"), "--side", "32", "--prior", path)


def test_a_foreign_generator_is_described_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = {"formatLayer": (64, 6), "groupScale0.0": (4, 4, 3, 3), "toRGBLayers.0": (1, 4, 1, 1)}
    tensors = {f"{name}.module.weight": torch.randn(shape) for name, shape in shapes.items()}
    tensors |= {f"{name}.module.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    path, grid = tmp_path / "zoo.safetensors", tmp_path / "grid.png"
    save_file(tensors, path)
    assert run("prior", "info", path) == 0
    said = capsys.readouterr().out
    assert "pytorch_GAN_zoo" in said
    assert "not declared: overlap with an audit is unknown" in said
    for count, size in ((3, (12, 4)), (11, (32, 8))):
        assert run("prior", "sample", path, "--out", grid, "--count", str(count)) == 0
        assert Image.open(grid).size == size
    assert run("prior", "sample", path, "--out", tmp_path / "grid.bmp") == 2


def test_sixteen_bit_films_are_read_to_their_full_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(9):
        pixels = rng.integers(0, 65536, (20, 20), dtype=np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    out = tmp_path / "prior.safetensors"
    assert run("prior", "fit", tmp_path, "--out", out, "--resolution", "16") == 0
    prior = load_prior(out)
    assert isinstance(prior, GaussianPrior)
    assert 0.4 < float(prior.mean.mean()) < 0.6


def test_a_prior_that_replays_a_film_is_found_out(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = np.asarray(Image.open(sorted((films / "mine" / "images").iterdir())[3]), dtype=np.float32) / 255
    card = PriorCard(id="replay", kind="gaussian", sha256="0" * 64, side=32)
    path = tmp_path / "replay.safetensors"
    GaussianPrior(card, torch.from_numpy(film)[None], torch.full((1, 1024), 1e-3), None).save(path)
    audit = ("prior", "info", path, "--audit", films / "mine")
    assert run(*audit, "--holdout", films / "others", "--samples", "40") == 1
    assert "do not ship it" in capsys.readouterr().out
    assert run(*audit) == 2
    assert "in both" in refused(capsys, 3, *audit, "--holdout", films / "mine")


def test_the_shipped_gaussian_is_not_accused(
    real_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (real_films / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for split in ("prior", "holdout"):
        chosen = [row | {"path": str(real_films / row["path"])} for row in rows if row["split"] == split][:120]
        with (tmp_path / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(chosen[0]))
            writer.writeheader()
            writer.writerows(chosen)
    sides = ("--audit", tmp_path / "prior.csv", "--holdout", tmp_path / "holdout.csv")
    assert run("prior", "info", SHIPPED / "gaussian-64.safetensors", *sides, "--samples", "200") == 0
    assert "no sign" in capsys.readouterr().out


def test_scaling_of_a_prior_s_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 4096, (16, 16), dtype=np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    out = tmp_path / "prior.safetensors"
    means = []
    for scaling in ("bits", "{ range = [0, 4095] }"):
        assert run("prior", "fit", tmp_path, "--out", out, "--resolution", "8", "--scaling", scaling) == 0
        prior = load_prior(out)
        assert isinstance(prior, GaussianPrior)
        means.append(float(prior.mean.mean()))
        out.unlink()
    assert means[0] < 0.06
    assert 0.4 < means[1] < 0.6
    assert run("prior", "fit", tmp_path, "--out", out, "--scaling", "range") == 2
    assert "percentiles = [1, 99]" in capsys.readouterr().err
