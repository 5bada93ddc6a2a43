"""Whatever was left out of the films, or decided about them, is said while an audit runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from reid_audit.audit.run import tell_of_films
from reid_audit.observer import Event, Noted


def test_notes_of_every_source_reach_the_observer() -> None:
    said: list[Event] = []
    opened: Any = SimpleNamespace(reference=SimpleNamespace(notes=("8 films read from 8 files",)), holdout=None)
    setup: Any = SimpleNamespace(prior_cohort=SimpleNamespace(notes=("no patient ids",)))
    observer: Any = SimpleNamespace(notice=said.append)
    tell_of_films(setup, opened, observer)
    assert said == [Noted("prior films: no patient ids"), Noted("training films: 8 films read from 8 files")]
