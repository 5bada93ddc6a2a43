"""The phantom's pixels are the same on every machine: what they are built from, and what comes out."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from reid_audit.demo import anatomy, exact, phantom

DRAWN = "38c7938689b41f73fe2ddbcb77fae509be35192aeb01682c23281d4ef00b76a0"
"""The same on x86-64 with every vector unit of numpy on and off, on an emulated arm64, and with numpy 1.26 and 2.4."""
ROUNDED_IN_ONE_WAY = {
    "np": {
        "abs", "arange", "array", "asarray", "clip", "empty", "floor", "full_like", "maximum", "minimum", "repeat",
        "rint", "round", "sign", "sqrt", "square", "where", "float32", "float64", "int32", "int64", "str_", "uint8",
        "random",
    },
    "rng": {"integers", "random", "standard_normal"},
    "math": {"pi", "factorial", "sqrt"},
}  # fmt: skip
"""What IEEE 754 or whole numbers settle: no exp, sin, power, hypot, mean or einsum of numpy or of the C library."""
ORDERED_BY_THE_LIBRARY = {"mean", "sum", "dot", "prod", "cumsum", "std", "var", "trace"}


def drawn() -> str:
    return hashlib.sha256(phantom.draw_films(40, side=32, seed=5, films=(1, 2))[0].tobytes()).hexdigest()


@pytest.mark.parametrize("module", [anatomy, exact, phantom], ids=lambda module: module.__name__.split(".")[-1])
def test_only_operations_that_every_processor_rounds_alike(module: ModuleType) -> None:
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Pow | ast.MatMult), "write products out"
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            assert node.attr in ROUNDED_IN_ONE_WAY.get(owner, {node.attr}), f"line {node.lineno}: {owner}.{node.attr}"
            assert node.attr not in ORDERED_BY_THE_LIBRARY, f"line {node.lineno}: {node.attr}"


def test_the_same_pixels_without_vector_units() -> None:
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", "import test_exact; print(test_exact.drawn())"]
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == drawn() == DRAWN


def test_functions_are_close_to_numpy() -> None:
    x = np.linspace(-20, 5, 10_001, dtype=np.float32)
    wide = x.astype(np.float64)
    for mine, theirs in ((exact.sin, np.sin), (exact.cos, np.cos)):
        assert np.abs(mine(x) - theirs(wide)).max() < 4e-6
    assert np.abs(exact.cos_turns(x) - np.cos(2 * np.pi * wide)).max() < 1e-6
    assert np.abs(exact.exp(x) / np.exp(wide) - 1).max() < 5e-7
    assert np.abs(exact.bell(x, 7.0) - np.exp(-((wide / 7) ** 2))).max() < 1e-6
    positive = exact.exp(x)
    for exponent in (0.7, 1.0, 2.2):
        assert np.abs(exact.power(positive, exponent) / positive.astype(np.float64) ** exponent - 1).max() < 1e-5


def test_ends_of_the_range() -> None:
    assert exact.power(np.zeros(2, np.float32), 0.7).tolist() == [0.0, 0.0]
    assert 0 < exact.exp(np.array([-1000.0], np.float32))[0] < 1e-37
    assert (
        exact.exp(np.array([0.0], np.float32)).tolist()
        == exact.cos_turns(np.array([0.0], np.float32)).tolist()
        == [1.0]
    )
