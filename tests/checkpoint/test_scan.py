"""The opcode walk finds what Python's own disassembler finds."""

from __future__ import annotations

import pickle
import pickletools
import random
import sys
from typing import Any

import pytest
from corpus_pickles import CODE_ONLY, DAMAGED, DANGEROUS, HIDDEN, HOW
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_audit.checkpoint.globals import BINDINGS, FOREIGN_NAMES, FOREIGN_PACKAGES, Kind, classify, constructs
from reid_audit.checkpoint.scan import COMPUTED, scan
from reid_audit.errors import AuditError, CheckpointError


def disassembled(programme: bytes) -> tuple[set[str], int] | None:
    """Globals named outright and the length, by pickletools; None where it cannot read the pickle."""
    names, length = set(), 0
    try:
        for opcode, argument, position in pickletools.genops(programme):
            length = (position or 0) + 1
            if opcode.name in ("GLOBAL", "INST"):
                names.add(str(argument).replace(" ", "."))
    except Exception:
        return None
    return names, length


def walked(programme: bytes) -> tuple[set[str], int] | None:
    try:
        found = scan(programme)
    except AuditError:
        return None
    return {name.replace(" ", ".") for name in found.names}, found.length


ALL = [*HIDDEN.values(), *DAMAGED.values(), *(build(name) for name in DANGEROUS for build in HOW.values())]


def test_every_case_of_the_corpus_is_walked_like_the_disassembler() -> None:
    for programme in filter(lambda p: len(p) < 200_000, ALL):
        wanted, found = disassembled(programme), walked(programme)
        if found is None or wanted is None:
            continue
        assert found[1] == wanted[1]
        assert wanted[0] <= found[0]


DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(value=DATA, protocol=st.integers(0, 5))
def test_honest_pickles_are_walked_to_their_end(value: Any, protocol: int) -> None:
    programme = pickle.dumps(value, protocol)
    found = scan(programme + b"trailing")
    assert found.length == len(programme)
    assert set(found.names) <= {"_codecs.encode", "__builtin__.bytes", "builtins.bytes", "__builtin__.bytearray"}


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), protocol=st.integers(2, 5))
def test_damaged_pickles_are_walked_like_the_disassembler_or_refused(seed: int, protocol: int) -> None:
    chance = random.Random(seed)
    programme = bytearray(pickle.dumps({"a": [1, 2.5, "text", b"bytes", (None, True)], "b": Kind.SAFE}, protocol))
    for _ in range(chance.randrange(1, 4)):
        programme[chance.randrange(len(programme))] = chance.randrange(256)
    wanted, found = disassembled(bytes(programme)), walked(bytes(programme))
    if wanted is not None and found is not None:
        assert found[1] == wanted[1]
        assert wanted[0] <= found[0]


def test_a_name_from_the_memo_is_found_or_counts_as_computed() -> None:
    for put in (b"\x94", b"q\x07", b"r\x07\x00\x00\x00", b"p7\n"):
        get = b"h\x00" if put == b"\x94" else b"h\x07"
        programme = b"\x80\x04\x8c\x05posix" + put + b"0" + get + b"\x8c\x06system\x93."
        assert scan(programme).names == ("posix.system",)
    assert scan(b"\x80\x04Vposix\n\x8c\x06system\x93.").names == (COMPUTED,)


def test_limits_of_the_walk() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        scan(b"N0" * 100 + b".", opcodes=100)


def test_the_published_list_holds_no_name_that_could_run_something() -> None:
    for name in DANGEROUS:
        kind = Kind.CODE if name in CODE_ONLY else Kind.BINDING if name in BINDINGS else Kind.UNSAFE
        assert classify(name) is kind or not constructs(name), name
    for package in FOREIGN_PACKAGES:
        assert classify(f"{package}.Class") is Kind.FOREIGN
        assert classify(f"{package}.function") is not Kind.FOREIGN
        assert classify(f"{package}x.Class") is not Kind.FOREIGN
        assert classify(f"{package}.os.Class") is Kind.UNSAFE
    assert all(classify(name) is Kind.FOREIGN for name in FOREIGN_NAMES)


def test_no_name_of_the_standard_library_is_code_to_be_warned_of() -> None:
    for module in sys.stdlib_module_names - {"typing"}:
        assert classify(f"{module}.Anything") is Kind.UNSAFE
        assert classify(f"{module}.sub.anything") is Kind.UNSAFE
    for name in ("a", "", ".", "a.", ".b", "a..b", "a b.C", "a.b\u0430", "a.__globals__", "a.__init__.b", "__x__.C"):
        assert classify(name) is Kind.UNSAFE, name


def test_only_classes_and_listed_constructors_may_be_called() -> None:
    for name in ("a.b.Net", "a._DenseLayer", "a.Net.Inner", "re._compile", "pandas.core.indexes.base._new_Index"):
        assert classify(name) is Kind.CODE
        assert constructs(name)
    for name in ("a.b.run", "a.Net.load", "torch.nn.functional.relu", "monai.utils.download"):
        assert classify(name) is Kind.CODE
        assert not constructs(name)
