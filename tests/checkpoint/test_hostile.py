"""Somebody else's file: every refusal has its exit code and three lines, is quick and small, and nothing ever runs.

Parsing happens in this process here; ``test_hostile_processes.py`` sends one case of each kind through the commands.
"""

from __future__ import annotations

import pickle
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from corpus_all import CASES
from corpus_base import BROKEN, STATE, UNSAFE, Case, parse, saved, tensors_file, zipped
from corpus_contents import SAMPLES, flipped
from corpus_pickles import CODE_ONLY, FLOATS, ONE, STEP, tensor_programme
from corpus_safetensors import one
from measured import forget_peak, peak, slowness

from reid_audit.checkpoint.globals import PickledCode
from reid_audit.errors import AuditError, CheckpointError, UnsafeCheckpointError

SECONDS = 5.0
NAMES_ONLY = ("a package that only starts like a listed one", "many names")
"""Of the corpus: files that mention names without calling them."""
GIB = 2**20
"""In KiB."""


def refused(case: Case, folder: Path, code: int, pickled_code: PickledCode) -> AuditError:
    """The refusal of a file: three lines, quick, small, and nothing has run."""
    data = case.make()
    forget_peak()
    before, started = peak(), time.process_time()
    with pytest.raises(AuditError) as caught:
        parse(data, pickled_code)
    assert time.process_time() - started <= SECONDS * slowness()
    assert peak() - before <= 2 * GIB
    assert caught.value.exit_code == code
    assert isinstance(caught.value, CheckpointError if code == BROKEN else UnsafeCheckpointError)
    lines = caught.value.lines()
    assert len(lines) == 3
    assert all(line.isprintable() and line for line in lines)
    assert all(len(line) < 1000 for line in lines)
    assert list(folder.iterdir()) == []
    return caught.value


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.kind}: {c.name}")
def test_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert case.phrase in refused(case, tmp_path, case.code, "refuse").what


UNSAFE_CASES = [case for case in CASES if case.code == UNSAFE]


@pytest.mark.parametrize("case", UNSAFE_CASES, ids=lambda c: f"{c.kind}: {c.name}")
def test_refused_where_the_policy_warns(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    harmless = case.name.partition(" ")[2] in {*CODE_ONLY, *NAMES_ONLY}
    refused(case, tmp_path, BROKEN if harmless else UNSAFE, "warn")


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


def test_a_harmless_nested_pickle_stays_bytes() -> None:
    for blob in (pickle.dumps({"a": [1.5]}), b"\x80\x02 no pickle at all", b"cos\n is no name\n", b"\x80\x04\x93\x93"):
        layout = parse(saved({"state_dict": STATE, "blob": blob, "text": "cos\nsin"}))
        assert [entry.key for entry in layout.entries] == ["conv.weight", "head.bias"]
