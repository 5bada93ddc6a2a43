"""Decodes films on several threads, in the order they are wanted: Pillow, zlib and NumPy work without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice

from reid_audit.cohort.frame import Frame
from reid_audit.cohort.raw import RawFilm
from reid_audit.cohort.rendered import Rendered, Unfit
from reid_audit.cohort.source import Row
from reid_audit.cohort.stream import films_or_faults
from reid_audit.errors import CohortError

BATCH = 16
"""Films that one thread decodes before it takes others."""
AHEAD = 3
"""Batches for each thread that are decoded before they are asked for."""
Decoded = tuple[Row, Rendered | CohortError]
"""A film in its frame; or ``Unfit``; or what keeps its file from being read."""
Read = tuple[Row, RawFilm | CohortError]


def decoded(rows: Sequence[Row], frame: Frame, *, as_seen: bool, threads: int) -> Generator[Decoded]:
    """The rows' films in ``frame``, in the rows' order. A file that cannot be read gives one CohortError, with the
    first row that has no film; its other rows are passed over.

    as_seen: whether the source's float arrays are what the network saw.
    """
    waiting: deque[Future[list[Decoded]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="films")
    try:
        for task in _tasks(rows, frame, as_seen=as_seen):
            waiting.append(pool.submit(task))
            if len(waiting) >= AHEAD * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _tasks(rows: Sequence[Row], frame: Frame, *, as_seen: bool) -> Iterator[Callable[[], list[Decoded]]]:
    """A few whole files each, or a few films of one that holds many, which is opened once."""
    few: list[Row] = []
    for _, group in groupby(rows, key=lambda row: row.path):
        own = list(group)
        if len(own) <= BATCH:
            few += own
        if few and (len(own) > BATCH or len(few) >= BATCH):
            yield partial(_of_files, few, frame, as_seen)
            few = []
        if len(own) > BATCH:
            films = films_or_faults(own, as_seen=as_seen)
            while part := list(islice(films, BATCH)):
                yield partial(_framed, part, frame)
    if few:
        yield partial(_of_files, few, frame, as_seen)


def _of_files(rows: Sequence[Row], frame: Frame, as_seen: bool) -> list[Decoded]:
    return _framed(films_or_faults(rows, as_seen=as_seen), frame)


def _framed(films: Iterable[Read], frame: Frame) -> list[Decoded]:
    found: list[Decoded] = []
    for row, film in films:
        try:
            found.append((row, film if isinstance(film, CohortError) else Rendered.of(row, film, frame)))
        except Unfit as error:
            found.append((row, error))
    return found
