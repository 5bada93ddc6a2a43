"""A short, repeatable run of the fuzz target; `make fuzz` runs it for a minute."""

from __future__ import annotations

import random

import fuzz_container
import pytest
from fuzz_container import Finding, mutated, one_input, random_run, seeds


def test_two_thousand_mutations_keep_the_promises() -> None:
    done, found = random_run(600.0, seed=0, executions=2000)
    assert done == 2000
    assert found == []


def test_the_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid_audit.errors.AuditError.lines", lambda _self: ("one line",))
    with pytest.raises(Finding):
        one_input(b"\0not a checkpoint")


def test_mutations_differ_from_their_seeds() -> None:
    chance, pool = random.Random(0), seeds()
    assert sum(mutated(pool[0], pool, chance) != pool[0] for _ in range(50)) >= 45


def test_the_watch_sees_forbidden_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_container, "watching", True)
    for event, name in (("os.system", b"true"), ("import", "os"), ("pickle.find_class", "posix")):
        fuzz_container.watch(event, (name,))
    fuzz_container.watch("import", ("encodings.cp437",))
    assert len(fuzz_container.seen) == 3
    fuzz_container.seen.clear()
