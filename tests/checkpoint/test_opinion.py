"""picklescan as a second opinion: asked where it is installed, stricter verdicts count, its failures decide nothing."""

from __future__ import annotations

import argparse
import uuid
from types import SimpleNamespace

import pytest
from corpus_base import STATE, parse, saved

from reid_audit.checkpoint import opinion
from reid_audit.checkpoint.globals import FOREIGN_NAMES, REBUILD, SAFE, STORAGES, Kind, classify
from reid_audit.checkpoint.opinion import FAILED, TOO_LARGE, second_opinion
from reid_audit.errors import UnsafeCheckpointError


def verdict(safety: str) -> SimpleNamespace:
    named = SimpleNamespace(module="argparse", name="Namespace", safety=SimpleNamespace(value=safety))
    return SimpleNamespace(globals=[named], scan_err=False)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinion, "find_spec", lambda _name: object())


@pytest.mark.usefixtures("installed")
def test_its_danger_counts_although_this_reader_knows_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinion, "_scanned", lambda _programme: verdict("dangerous"))
    with pytest.raises(UnsafeCheckpointError, match=r"picklescan calls argparse\.Namespace dangerous") as caught:
        parse(saved({"state_dict": STATE, "args": argparse.Namespace()}))
    assert caught.value.exit_code == 5
    assert len(caught.value.lines()) == 3


@pytest.mark.usefixtures("installed")
def test_its_suspicion_and_its_failures_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opinion, "_scanned", lambda _programme: verdict("suspicious"))
    assert second_opinion(b"") == ()
    monkeypatch.setattr(opinion, "_scanned", lambda _programme: 1 / 0)
    assert second_opinion(b"") == (FAILED,)
    assert second_opinion(bytes(opinion.LARGEST + 1)) == (TOO_LARGE,)
    monkeypatch.setattr(opinion, "find_spec", lambda _name: None)
    assert second_opinion(b"") == ()


def test_the_real_one_agrees_with_the_list_but_for_one_name() -> None:
    pytest.importorskip("picklescan", reason="the optional extra scan is not installed")
    disagreed = set()
    for name in {*FOREIGN_NAMES, *REBUILD, *SAFE, *(f"torch.{storage}" for storage in STORAGES)}:
        module, _, leaf = name.rpartition(".")
        try:
            assert second_opinion(b"\x80\x02c" + f"{module}\n{leaf}\n".encode() + b".") == ()
        except UnsafeCheckpointError:
            disagreed.add(name)
    assert disagreed == {"uuid.UUID"}


def test_the_real_one_is_asked() -> None:
    pytest.importorskip("picklescan", reason="the optional extra scan is not installed")
    assert [entry.key for entry in parse(saved(STATE)).entries] == list(STATE)
    with pytest.raises(UnsafeCheckpointError, match=r"picklescan calls uuid\.UUID dangerous"):
        parse(saved({"state_dict": STATE, "run": uuid.UUID(int=1)}))


def test_what_the_real_one_condemns_by_name_is_never_only_warned_of() -> None:
    scanner = pytest.importorskip("picklescan.scanner", reason="the optional extra scan is not installed")
    for module, names in scanner._unsafe_globals.items():
        for name in ("anything", "Anything") if names == "*" else {names} if isinstance(names, str) else names:
            assert classify(f"{module}.{name}") in (Kind.UNSAFE, Kind.BINDING), f"{module}.{name}"
