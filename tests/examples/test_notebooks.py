"""The notebooks of examples/ run as they stand, cell by cell, in a folder with a small model and small films."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from declared import NOT_SEARCHED, SIDE
from PIL import Image
from safetensors.torch import save
from stub_hub import serving

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
POLICY = f"""
demographics = "off"
[budget]
steps = 4
particles = [4]
[references]
when = "off"
{NOT_SEARCHED}
canaries = 4
"""
RUN = "import json,sys\nspace={}\nfor c in json.load(open(sys.argv[1]))['cells']:\n" + (
    "    if c['cell_type'] == 'code': exec(compile(''.join(c['source']), c['id'], 'exec'), space)"
)
"""What a kernel does with a notebook, without one."""


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Films of two sides and a policy that takes seconds."""
    draw = np.random.default_rng(0)
    for side, count in (("train", 12), ("holdout", 24)):
        (tmp_path / "films" / side).mkdir(parents=True)
        for number in range(count):
            film = draw.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(film).save(tmp_path / "films" / side / f"{number:03}.png")
    (tmp_path / "reid-audit.toml").write_text(POLICY, encoding="utf-8")
    return tmp_path


def run(notebook: str, place: Path, **more: str) -> None:
    """Raises where a cell does."""
    path = ROOT / "examples" / notebook
    kept: Mapping[str, str] = {k: os.environ[k] for k in ("PATH", "PYTHONPATH", "HOME") if k in os.environ}
    environment = {**kept, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].split(" - ")[0] in ("pass", "fail", "inconclusive"), done.stdout
    assert "<html" in (place / "report.html").read_text(encoding="utf-8")


def weights(network: Any) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        network.train()(torch.rand(8, next(network.parameters()).shape[1], SIDE, SIDE))
    return {key: value.contiguous() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_under_ten_statements_and_without_results(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in document["cells"])
    statements = [node for cell in code_of(path) for node in ast.parse(cell).body]
    assert len([node for node in statements if not isinstance(node, ast.Import | ast.ImportFrom)]) < 10
    assert {path.name for path in NOTEBOOKS} == {"hub.ipynb", "monai.ipynb"}


def test_a_user_of_monai(place: Path) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    bundle = place / "bundle"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "models").mkdir()
    image = {"num_channels": 1, "spatial_shape": [SIDE, SIDE], "value_range": [0, 1]}
    metadata = {"network_data_format": {"inputs": {"image": image}}}
    (bundle / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    network = nets.resnet10(spatial_dims=2, n_input_channels=1, num_classes=2)
    torch.save(weights(network), bundle / "models" / "model.pt")
    run("monai.ipynb", place)


def test_a_user_of_the_hub(place: Path) -> None:
    pytest.importorskip("huggingface_hub")
    torch.manual_seed(0)
    with serving() as hub:
        network = torchvision.models.shufflenet_v2_x0_5(num_classes=2)
        hub.models["OWNER/MODEL"] = {"model.safetensors": save(weights(network))}
        run("hub.ipynb", place, HF_ENDPOINT=hub.address, HF_HOME=str(place / "hf"))
    result = json.loads((place / "reid-audit-report" / "latest" / "restricted" / "result.json").read_bytes())
    assert any(name == "origin" and value.startswith("hf://OWNER/MODEL@") for name, value in result["options"])
