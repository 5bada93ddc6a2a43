"""Films in a store are, bit for bit, the films without one; what is stale, damaged or half written is decoded again."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reid_audit.budget import Meter
from reid_audit.cohort import Cohort, FilmStore, Frame, Source, load_cohort, stored_cohort
from reid_audit.cohort import filmstore as module
from reid_audit.cohort.rendered import pack, unpack
from reid_audit.cohort.segment import SUFFIX
from reid_audit.errors import CohortError
from reid_audit.imaging.stack import Joined, Stack, blocks
from reid_audit.observer import Event, Noted, StageAdvanced
from reid_audit.preprocess import UNIT
from reid_audit.records import PreprocessSpec, Scaling

SIDE = 16
LATER = 1e10
"""A time at which no film is fresh any more."""


def write_manifest(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["path,patient_id", *(",".join(row) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Heard:
    """Keeps what is said, and can be stopped at a film."""

    def __init__(self, stop: int | None = None) -> None:
        self.said: list[str] = []
        self.stop = stop

    def notice(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.said.append(event.message)
        if isinstance(event, StageAdvanced) and event.step == self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    rows = []
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append((f"{i}.png", f"P{i // 2}"))
    write_manifest(folder, rows)
    return folder


def read(films: Path, cache: Path | None, shown: Heard | None = None, memory: int = 0, **frame: Any) -> Cohort[Stack]:
    asked = Frame(**{"spec": UNIT, "side": SIDE, "observer": shown or Heard(), **frame})
    return stored_cohort(Source(films), asked, "holdout", FilmStore(cache, now=lambda: LATER, memory=memory))


def plain(films: Path, **frame: Any) -> Cohort:
    return load_cohort(Source(films), Frame(**{"spec": UNIT, "side": SIDE, **frame}), "holdout")


def same(stored: Cohort[Stack], held: Cohort) -> None:
    assert torch.equal(stored.images[:], held.images)
    assert stored.patients.tolist() == held.patients.tolist()
    assert stored.summary == held.summary


def segments(cache: Path) -> list[Path]:
    return sorted(cache.rglob(f"*{SUFFIX}"))


def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """[films decoded], which grows."""
    count, real = [0], Image.open

    def opened(*given: Any, **more: Any) -> Any:
        count[0] += 1
        return real(*given, **more)

    monkeypatch.setattr("reid_audit.cohort.pictures.Image.open", opened)
    return count


@pytest.mark.parametrize("cached", [True, False])
def test_a_stored_cohort_is_the_cohort_in_memory(films: Path, tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    for _ in range(2):
        same(read(films, cache), plain(films))


@pytest.mark.parametrize(
    "spec",
    [
        UNIT,
        PreprocessSpec(resize="shorter", crop="center", interpolation="bicubic"),
        PreprocessSpec(scaling=Scaling(by="minmax")),
    ],
)
@pytest.mark.parametrize("kind", ["8-bit", "16-bit", "float", "colour"])
def test_every_kind_of_film_comes_back_bit_for_bit(tmp_path: Path, spec: PreprocessSpec, kind: str) -> None:
    folder, cache = tmp_path / "films", tmp_path / "cache"
    folder.mkdir()
    for i in range(5):
        rng = np.random.default_rng(i)
        pixels = rng.random((21, 24), dtype=np.float32)
        if kind == "float":
            np.save(folder / f"{i}.npy", pixels)
        elif kind == "16-bit":
            Image.fromarray((pixels * 65535).astype(np.uint16)).save(folder / f"{i}.png")
        elif kind == "8-bit":
            Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{i}.png")
        else:
            Image.fromarray(rng.integers(0, 256, (21, 24, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    channels = 3 if kind == "colour" else 1
    held = plain(folder, spec=spec, channels=channels)
    for _ in range(2):
        same(read(folder, cache, spec=spec, channels=channels), held)


def test_whole_numbers_take_the_fewest_bytes_and_nothing_is_rounded() -> None:
    eight = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(1, 16, 16)
    sixteen = (np.arange(65536, dtype=np.float32) / np.float32(65535)).reshape(1, 256, 256)
    odd = eight.copy()
    odd[0, 0, 0] = np.float32(0.1234567)
    for values, kind in ((eight, np.uint8), (sixteen, np.uint16), (odd, np.float32), (-0.0 * eight, np.float32)):
        packed = pack(values.astype(np.float32))
        assert packed.dtype == kind
        assert unpack(packed).tobytes() == values.astype(np.float32).tobytes()


def test_a_second_run_decodes_nothing_and_says_so(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = decodes(monkeypatch)
    read(films, tmp_path / "cache")
    first = count[0]
    again = read(films, tmp_path / "cache")
    assert first >= 40
    assert count[0] == first
    assert "40 films taken from the cache" in again.notes


def test_a_run_that_was_stopped_goes_on_where_it_was(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(films, tmp_path / "cache", Heard(stop=25))
    count = decodes(monkeypatch)
    found = read(films, tmp_path / "cache")
    assert count[0] == 40 - 25
    same(found, plain(films))


def test_a_changed_film_is_never_taken_from_the_cache(films: Path, tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", films / "7.png"
    before = path.stat()
    read(films, cache)
    other = np.array(Image.open(path))
    other[0, 0] ^= 255
    Image.fromarray(other).save(tmp_path / "other.png")
    content = (tmp_path / "other.png").read_bytes()
    path.write_bytes(content.ljust(before.st_size, b"\0")[: max(before.st_size, len(content))])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the date is put back
    found = read(films, cache)
    same(found, plain(films))
    assert "1 films in the cache are of files that changed since: decoded again" in found.notes


def test_a_film_too_fresh_to_tell_a_later_change_from_it_is_decoded_again(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = max(path.stat().st_ctime for path in films.iterdir())
    store = FilmStore(tmp_path / "cache", now=lambda: written + 1.0)
    frame = Frame(UNIT, SIDE)
    stored_cohort(Source(films), frame, "holdout", store)
    count = decodes(monkeypatch)
    stored_cohort(Source(films), frame, "holdout", store)
    assert count[0] == 40


@pytest.mark.parametrize("where", ["pixels", "index", "end", "whole"])
def test_what_is_damaged_is_decoded_again_and_said(films: Path, tmp_path: Path, where: str) -> None:
    cache = tmp_path / "cache"
    read(films, cache)
    (path,) = segments(cache)
    content = bytearray(path.read_bytes())
    if where == "pixels":
        content[-10] ^= 1
    elif where == "index":
        content[100] ^= 1
    elif where == "end":
        del content[-10:]
    else:
        content.clear()
    path.write_bytes(bytes(content))
    found = read(films, cache)
    same(found, plain(films))
    assert any("damaged" in note for note in found.notes)
    assert not any("damaged" in note for note in read(films, cache).notes) or where in ("pixels", "end")


def test_a_film_that_changes_under_a_run_ends_it(films: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = read(films, cache)
    (path,) = segments(cache)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CohortError, match="were changed while the audit was reading them"):
        found.images[:]


def test_another_frame_or_source_has_films_of_its_own(films: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read(films, cache)
    same(read(films, cache, side=8), plain(films, side=8))
    half = PreprocessSpec(interpolation="box")
    same(read(films, cache, spec=half), plain(films, spec=half))
    assert len(list(cache.iterdir())) == 3


def test_only_the_owner_can_read_the_store_and_no_name_of_a_file_is_in_it(films: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (films / "7.png").rename(films / "jane_doe.png")
    write_manifest(films, [(path.name, path.stem) for path in films.glob("*.png")])
    read(films, cache)
    for path in segments(cache):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert b"jane_doe" not in path.read_bytes()


def test_a_cache_that_cannot_be_written_costs_a_word_and_nothing_else(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_segment", full)
    shown = Heard()
    same(read(films, tmp_path / "cache", shown), plain(films))
    assert [line for line in shown.said if "No space left on device" in line]


def test_two_runs_may_fill_one_cache_at_a_time(films: Path, tmp_path: Path) -> None:
    cache, found = tmp_path / "cache", list[Cohort[Stack]]()
    runs = [threading.Thread(target=lambda: found.append(read(films, cache))) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(found) == 3
    for one in (*found, read(films, cache)):
        same(one, plain(films))


def test_films_of_one_run_leave_the_memory_and_no_name(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    found = read(films, None, memory=5 * SIDE * SIDE)
    assert list((tmp_path / "tmp").iterdir()) == []
    same(found, plain(films))


def test_without_room_for_the_films_the_audit_is_refused(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(CohortError, match="no room for the films") as refused:
        read(films, None)
    assert "--cache" in refused.value.remedy


def test_reading_ends_with_its_time_and_what_was_read_is_kept(films: Path, tmp_path: Path) -> None:
    class Clock(Heard):
        now = 0.0

        def __call__(self) -> float:
            return self.now

        def notice(self, event: Event) -> None:
            self.now += isinstance(event, StageAdvanced)

    clock = Clock()
    short = read(films, tmp_path / "cache", clock, meter=Meter(9.0, None, clock=clock))
    assert (short.summary.patients, short.unread) == (5, 15)
    assert len(short.images[:]) == len(short.patients) == 10
    assert "11 films taken from the cache" in read(films, tmp_path / "cache").notes


def test_stacks_are_read_a_few_at_a_time_in_any_order() -> None:
    images = torch.rand(10, 1, 4, 4)
    joined = Joined(images[:4], images[4:])
    assert joined.shape == images.shape
    rows = torch.tensor([9, 0, 3, 4, 4])
    assert torch.equal(joined[rows], images[rows])
    assert torch.equal(joined[2:7], images[2:7])
    assert torch.equal(torch.cat(list(blocks(joined, 3))), images)
    assert [len(part) for part in blocks(images[:0])] == [0]
