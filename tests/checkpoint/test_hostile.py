"""Somebody else's file: every refusal has its exit code and three lines, is quick and small, and nothing ever runs.

Parsing happens in this process here; ``test_hostile_processes.py`` sends one case of each kind through the commands.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from corpus_all import CASES
from corpus_base import BROKEN, STATE, Case, parse, saved, tensors_file, zipped
from corpus_contents import SAMPLES, flipped
from corpus_pickles import FLOATS, ONE, STEP, by_global, tensor_programme
from corpus_safetensors import one
from measured import forget_peak, peak

from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError

SECONDS = 5.0
GIB = 2**20
"""In KiB."""


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.kind}: {c.name}")
def test_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = case.make()
    monkeypatch.chdir(tmp_path)
    forget_peak()
    before, started = peak(), time.process_time()
    with pytest.raises(AuditError) as caught:
        parse(data)
    assert time.process_time() - started <= SECONDS
    assert peak() - before <= 2 * GIB
    assert caught.value.exit_code == case.code
    assert isinstance(caught.value, CheckpointError if case.code == BROKEN else UnsafeCheckpointError)
    lines = caught.value.lines()
    assert len(lines) == 3
    assert all(line.isprintable() and line for line in lines)
    assert all(len(line) < 1000 for line in lines)
    assert case.phrase in caught.value.what
    assert list(tmp_path.iterdir()) == []


def test_the_corpus_is_large_and_every_case_is_there_once() -> None:
    assert len(CASES) >= 200
    assert len({case.kind for case in CASES}) >= 15
    assert Counter((case.kind, case.name) for case in CASES).most_common(1)[0][1] == 1


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("seed", range(8))
def test_bit_flips_are_read_or_refused(kind: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        try:
            layout = parse(flipped(SAMPLES[kind], chance))
        except AuditError:
            continue
        assert layout.entries


def test_the_same_files_without_a_lie_are_read() -> None:
    described = parse(zipped(tensor_programme(ONE, STEP), FLOATS))
    assert [(e.key, e.shape) for e in described.entries] == [("w", (2,))]
    assert "replaced by an inert placeholder: argparse.Namespace" in described.findings
    assert parse(tensors_file(one(), bytes(4))).entries[0].key == "a"


def test_a_nested_pickle_stays_bytes() -> None:
    layout = parse(saved({"state_dict": STATE, "blob": by_global("os.system")}))
    assert [entry.key for entry in layout.entries] == ["conv.weight", "head.bias"]
