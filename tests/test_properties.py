"""Properties of what users bring: state_dicts in any spelling, manifests in any hand."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reid_audit.arch.canonical import canonical, prefixes, under
from reid_audit.checkpoint.unwrap import strip_prefixes
from reid_audit.cohort.cells import spelling
from reid_audit.cohort.source import list_rows, parse_source
from reid_audit.errors import CohortError

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PART = st.sampled_from(["conv", "bn", "layer1", "0", "1", "weight", "bias", "module", "model", "attn", "w_v"])
KEY = st.lists(PART, min_size=1, max_size=4).map(".".join)
KEYS = st.lists(KEY, min_size=2, max_size=10, unique=True)
PREFIX = st.lists(st.sampled_from(["module", "model", "_orig_mod", "net", "backbone"]), max_size=3)


def state(keys: list[str]) -> dict[str, Tensor]:
    """One distinct floating tensor per key."""
    return {key: torch.full((2,), float(i)) for i, key in enumerate(keys)}


def values(table: dict[str, Tensor]) -> list[float]:
    return [tensor[0].item() for tensor in table.values()]


@QUICK
@given(keys=KEYS, prefix=PREFIX)
def test_a_shared_prefix_changes_nothing_that_is_kept(keys: list[str], prefix: list[str]) -> None:
    plain = strip_prefixes(state(keys))
    wrapped = strip_prefixes(state([".".join([*prefix, key]) for key in keys]))
    assert list(plain) == list(wrapped)
    assert values(plain) == values(wrapped)
    assert strip_prefixes(plain) == plain
    assert len(plain) == len(keys)


@QUICK
@given(keys=KEYS)
def test_canonical_twice_is_canonical_once(keys: list[str]) -> None:
    once = canonical(state(keys)).state
    twice = canonical(once).state
    assert list(once) == list(twice)
    assert all(torch.equal(once[key], twice[key]) for key in once)


@QUICK
@given(keys=KEYS, data=st.data())
def test_the_order_of_keys_does_not_matter(keys: list[str], data: st.DataObject) -> None:
    table = state(keys)
    shuffled = {key: table[key] for key in data.draw(st.permutations(keys))}
    first, second = canonical(table).state, canonical(shuffled).state
    assert set(first) == set(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


@QUICK
@given(keys=KEYS, prefix=PREFIX.filter(bool))
def test_a_prefix_on_all_keys_is_found_and_taken_off(keys: list[str], prefix: list[str]) -> None:
    text = ".".join(prefix) + "."
    wrapped = [text + key for key in keys]
    assert prefixes(wrapped)[0] == ""
    assert text in prefixes(wrapped)
    assert under(wrapped, text) == dict(zip(keys, wrapped, strict=True))
    assert under(wrapped, "") == dict(zip(wrapped, wrapped, strict=True))


@pytest.mark.parametrize(
    "make", [lambda: nn.Conv2d(3, 5, 2), lambda: nn.Linear(4, 3), lambda: nn.ConvTranspose2d(3, 5, 2)]
)
@pytest.mark.parametrize("seed", range(3))
def test_weight_and_spectral_norm_fold_to_the_weight_torch_uses(make: Any, seed: int) -> None:
    torch.manual_seed(seed)
    for wrap in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        layer = wrap(make())
        for _ in range(3):
            layer(torch.randn(1, *((4,) if isinstance(layer, nn.Linear) else (3, 8, 8))))
        layer.eval()
        folded = canonical({f"a.{key}": value.detach() for key, value in layer.state_dict().items()}).state
        assert set(folded) == {"a.weight", "a.bias"}
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        assert torch.allclose(folded["a.weight"], weight, atol=1e-5)


CELL = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
NAMES = ["a.png", "b.png", "c.png", "deep/d.png", "with space.png"]
PEOPLE = st.text("abcXYZ019-_", min_size=1, max_size=6).filter(lambda text: any(c.isalnum() for c in text))
HEADERS = {
    "path": ["path", "Image Path", "FILE", "image_index"],
    "patient_id": ["patient_id", "Patient-ID", "subject"],
    "age": ["age", "Patient Age"],
    "sex": ["sex", "Gender"],
}


@contextmanager
def folder(manifest: bytes) -> Iterator[Path]:
    """A folder with five empty films and this manifest."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "deep").mkdir()
        for film in NAMES:
            (base / film).write_bytes(b"")
        (base / "manifest.csv").write_bytes(manifest)
        yield base


def written(rows: list[dict[str, str]], delimiter: str, end: str, mark: bool) -> bytes:
    """The rows as a spreadsheet programme would save them."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig" if mark else "utf-8")


@settings(QUICK, max_examples=150)
@given(text=st.one_of(st.binary(max_size=200), st.lists(st.lists(CELL, max_size=5), max_size=5).map(
    lambda rows: "path,patient_id,age,sex\n" + "\n".join(",".join(row) for row in rows)
).map(lambda text: text.encode())))  # fmt: skip
@example(b"path\n" + b"a" * 300)
@example(b"path\n" + b"a/" * 3000)
@example(b"path\n" + b"a" * 140_000)
@example(b"path\na\0.png")
@example(b'path\n"a.png')
@example(b"path,path\na.png,b.png")
@example(b"path\n.")
@example(b"path,age\na.png,y")
def test_any_manifest_is_read_or_refused_in_three_lines(text: bytes) -> None:
    with folder(text) as base:
        try:
            rows = list_rows(base).rows
        except CohortError as error:
            lines = error.lines()
            assert len(lines) == 3
            assert all(line.isprintable() and line for line in lines)
            return
        for row in rows:
            assert row.path.is_file()
            assert row.patient
            assert math.isnan(row.age) or 0 <= row.age <= 130
            assert row.sex in ("", "M", "F")


@QUICK
@given(data=st.data())
def test_a_manifest_says_the_same_in_every_hand(data: st.DataObject) -> None:
    films = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    wanted = [
        (film, data.draw(PEOPLE), data.draw(st.integers(0, 130)), data.draw(st.sampled_from(["M", "F", ""])))
        for film in films
    ]
    assume(len({spelling(person) for _, person, _, _ in wanted}) == len({person for _, person, _, _ in wanted}))
    heads = {field: data.draw(st.sampled_from(names)) for field, names in HEADERS.items()}
    order = data.draw(st.permutations(list(heads)))
    age = data.draw(st.sampled_from(["{}", "{}.0", "{:03d}Y", " {} "]))
    men = ["male", "Man", *(["M"] if any(letter == "F" for *_, letter in wanted) else [])]
    sex = {"M": men, "F": ["f", "FEMALE", "woman"], "": ["", "unknown", "N/A"]}
    rows = []
    for film, patient, years, letter in wanted:
        said = data.draw(st.sampled_from(sex[letter]))
        cells = {"path": film, "patient_id": f" {patient}", "age": age.format(years), "sex": said}
        rows.append({heads[field]: cells[field] for field in order})
    text = written(
        rows, data.draw(st.sampled_from(",;\t")), data.draw(st.sampled_from(["\n", "\r\n"])), data.draw(st.booleans())
    )
    with folder(text) as base:
        listing = list_rows(base)
        found = [(r.path.relative_to(base).as_posix(), r.patient, int(r.age), r.sex) for r in listing.rows]
        assert listing.known_patients
        assert found == wanted
        person = wanted[0][1]
        kept = list_rows(base, {heads["patient_id"]: person}).rows
        assert {r.patient.casefold() for r in kept} == {person.casefold()}
        assert set(kept) <= set(listing.rows)


@QUICK
@given(
    pairs=st.dictionaries(
        st.text("abc_", min_size=1, max_size=5), st.text("xyz,1 ", max_size=5), min_size=1, max_size=3
    )
)
def test_a_filter_survives_being_written_down(pairs: dict[str, str]) -> None:
    text = "films.csv?" + "&".join(f"{key}={value}" for key, value in pairs.items())
    assert parse_source(text) == (Path("films.csv"), pairs)
