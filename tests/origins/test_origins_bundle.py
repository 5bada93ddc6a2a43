"""A MONAI bundle as a folder and as a zip: its weights and its words; its expressions stay text."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from reid_audit.checking.files import Files, with_declared_side
from reid_audit.checking.options import CheckOptions
from reid_audit.cli import exit_code
from reid_audit.errors import CheckpointError
from reid_audit.origins import Declared, Fetched, fetched
from reid_audit.origins.bundle import declared
from reid_audit.records import Policy, PreprocessPolicy, PreprocessSpec

nets = pytest.importorskip("monai.networks.nets")
METADATA = {
    "monai_version": "1.3.0",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [64, 64], "value_range": [0, 1], "modality": "XR"}}
    },
}
TRIPWIRE = "$__import__('pathlib').Path('ran').touch()"
INFERENCE = {
    "imports": [TRIPWIRE],
    "device": TRIPWIRE,
    "network_def": {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": TRIPWIRE},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(nets.DenseNet121(spatial_dims=2, in_channels=1, out_channels=2).state_dict(), file)
    return file.read_bytes()


@pytest.fixture
def bundle(tmp_path: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "bundle"
    for name, content in {
        "configs/metadata.json": json.dumps(METADATA).encode(),
        "configs/inference.json": json.dumps(INFERENCE).encode(),
        "models/model.pt": weights,
        "models/model.ts": b"TorchScript, which is code",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(bundle: Path, root: str = "bundle/") -> Path:
    file = bundle.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
            archive.write(path, root + path.relative_to(bundle).as_posix())
    return file


@pytest.mark.parametrize("kind", ["folder", "zip", "zip without a root"])
def test_inspect_reads_weights_and_words(bundle: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = bundle if kind == "folder" else zipped(bundle, "" if "without" in kind else "bundle/")
    assert exit_code(["inspect", "--json", str(given)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["architecture"]["name"].lower() == "densenet121"
    assert found["architecture"]["channels"] == 1
    assert found["declared"] == {
        "network": "DenseNet121", "channels": 1, "side": 64, "values": [0.0, 1.0], "modality": "XR"
    }  # fmt: skip
    assert not Path("ran").exists()


def test_a_contradiction_is_a_doubt(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = json.loads(json.dumps(METADATA))
    changed["network_data_format"]["inputs"]["image"]["num_channels"] = 3
    (bundle / "configs" / "metadata.json").write_text(json.dumps(changed))
    assert exit_code(["inspect", str(bundle)]) == 0
    assert "3 channels are declared, the weights take 1" in capsys.readouterr().out


def test_verify_knows_the_weights_in_a_zip(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(bundle)
    with fetched(str(archive)) as found:
        place = found.file
        assert place.read_bytes() == (bundle / "models" / "model.pt").read_bytes()
    assert not place.exists()
    assert exit_code(["verify", "nowhere", str(archive)]) == 3
    capsys.readouterr()


@pytest.mark.parametrize("many", [False, True])
def test_no_weights_or_several_are_refused(bundle: Path, many: bool, capsys: pytest.CaptureFixture[str]) -> None:
    weights = bundle / "models" / "model.pt"
    if many:
        weights.with_name("a.pt").write_bytes(weights.read_bytes())
        weights.with_name("b.pt").write_bytes(weights.read_bytes())
    weights.unlink()
    assert exit_code(["inspect", str(bundle)]) == 3
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["not audited", "closest", "help"]
    assert "bundle" in said[0]


def test_a_bomb_and_damage_are_refused(bundle: Path) -> None:
    (bundle / "models" / "model.pt").write_bytes(b"\0" * 200_000_000)
    with pytest.raises(CheckpointError, match="unpack to"), fetched(str(zipped(bundle))):
        pass
    archive = bundle.with_suffix(".zip")
    content = bytearray(archive.read_bytes())
    content[60:200] = bytes(140)
    archive.write_bytes(content)
    with pytest.raises(CheckpointError), fetched(str(archive)):
        pass


NONSENSE: tuple[Any, ...] = (
    [], 3, {"network_data_format": []}, {"network_data_format": {"inputs": {"image": []}}},
    {"network_data_format": {"inputs": {"image": {
        "num_channels": "$3", "spatial_shape": ["*", "*"], "value_range": [1, 0], "modality": "<b>"}}}},
    {"network_data_format": {"inputs": {"image": {
        "num_channels": True, "spatial_shape": [96, 96, 96], "value_range": ["a", 1], "modality": 3}}}},
)  # fmt: skip


@pytest.mark.parametrize("metadata", NONSENSE)
def test_what_is_not_said_plainly_is_not_declared(metadata: Any) -> None:
    assert declared({"configs/metadata.json": json.dumps(metadata).encode()}.get) == Declared()


def test_the_declared_side_is_used_where_nobody_says_one() -> None:
    files, policy = Files(Fetched(Path("model.pt"), declared=Declared(side=64))), Policy()
    given = CheckOptions(checkpoint="bundle")
    assert with_declared_side(given, policy, files).side == 64
    assert with_declared_side(given.model_copy(update={"side": 32}), policy, files).side == 32
    stated = policy.model_copy(update={"preprocess": PreprocessPolicy(declared=PreprocessSpec(side=48))})
    assert with_declared_side(given, stated, files).side is None
