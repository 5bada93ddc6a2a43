"""Findings about the films: each cohort by itself, both together, and what their labels are good for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from reid_audit.audit.preflight.record import CohortCount, Finding
from reid_audit.cohort import KIND_WORDS, CohortSurvey, Shared, counted, refuse_apart, shared
from reid_audit.cohort.findings import ABSENT, BLANK, PRESENT, UNCERTAIN, exclusive, marks_of, read_mark
from reid_audit.errors import CohortError
from reid_audit.network.answers import findings_of
from reid_audit.network.heads import labels_of, meaning
from reid_audit.records import COHORTS, ArchMatch, CohortName


def count_of(role: CohortName, found: CohortSurvey) -> CohortCount:
    """``found`` in numbers."""
    return CohortCount(
        role=role,
        films=found.films,
        patients=found.patients,
        files=found.files,
        decoded=found.decoded,
        known_patients=found.known_patients,
        ages=found.ages,
        sexes=found.sexes,
    )


def of_each_cohort(surveys: Mapping[CohortName, CohortSurvey]) -> Iterator[Finding]:
    """Faults of every cohort by kind, and what is odd about it."""
    for role, found in surveys.items():
        name = COHORTS[role]
        for kind, number in counted(found.faults):
            own = [fault for fault in found.faults if fault.kind == kind]
            if kind == "source":  # about what the user typed, not about a row or a patient
                yield from (_fault(f"{name}: {fault.what} ({fault.closest})", fault.remedy) for fault in own)
            else:
                remedies = dict.fromkeys(fault.remedy for fault in own)
                yield _fault(f"{name}: {KIND_WORDS[kind]}: {number}", "; ".join(remedies))
        if found.twins:
            text = f"{name}: films that are, value for value, a film of another patient of this cohort: {found.twins}"
            remedy = "check the patient ids: one person under two ids counts twice"
            yield Finding(kind="limit", topic="duplicates", text=text, remedy=remedy)
        yield from (Finding(kind="note", topic="films", text=f"{name}: {note}") for note in found.notes)


def _fault(text: str, remedy: str) -> Finding:
    return Finding(kind="fault", topic="films", text=text, remedy=remedy)


def common(surveys: Mapping[CohortName, CohortSurvey]) -> dict[tuple[CohortName, CohortName], Shared]:
    """What every two cohorts have in common, where they have something."""
    pairs = combinations((name for name in COHORTS if name in surveys), 2)
    found = {(one, other): shared(surveys[one], surveys[other]) for one, other in pairs}
    return {pair: both for pair, both in found.items() if both.patients}


def of_common(found: Mapping[tuple[CohortName, CohortName], Shared]) -> Iterator[Finding]:
    """A patient of both cohorts is a fault; who is in the prior's films too is a matter of the policy (look.py)."""
    both = found.get(("reference", "holdout"))
    if both is None:
        return
    how = (
        (len(both.ids), "by id"),
        (len(both.respelt), "by an id spelt in two ways"),
        (len(both.pictures), "by a picture under two ids"),
    )
    detail = ", ".join(f"{number} {words}" for number, words in how if number)
    yield Finding(
        kind="fault",
        topic="overlap",
        text=f"patients in both cohorts: {both.patients} ({detail})",
        remedy="split by patient: whoever is among the training films may not be in the hold-out",
    )


def of_strata(surveys: Mapping[CohortName, CohortSurvey]) -> Iterator[Finding]:
    """That strata tell the cohorts apart, by their films."""
    reference, holdout = (surveys[role].strata if role in surveys else () for role in ("reference", "holdout"))
    if not reference or not holdout:
        return
    try:
        refuse_apart(dict(reference), dict(holdout))
    except CohortError as error:
        yield _fault(f"{error.what} ({error.closest})", error.remedy)


def of_labels(surveys: Mapping[CohortName, CohortSurvey], match: ArchMatch | None) -> Iterator[Finding]:
    """How findings of columns are read, and why the loss under the training label would be left out of the scores."""
    counts, why = _label_counts(surveys), unusable_labels(surveys, match)
    if marks := marks_of(counts):
        yield Finding(kind="note", topic="labels", text=_of_columns(marks, tuple(counts.values())))
    if not counts or not why:
        return
    remedy = "give --label a column that names each film's class"
    several = not exclusive(marks) if marks else any(len(findings_of(label)) > 1 for label in counts)
    if match is not None and match.head == "softmax" and several:
        remedy = "where several findings may be present at once, add --head sigmoid"
    if not marks and "" in counts and all(map(_is_mark, counts)):
        remedy = "where 1, 0, -1 and blank tell of one finding, name the column with a comma behind it: --label 'NAME,'"
    if match is not None and match.classes == 1 and match.head != "regression" and all(map(_is_number, counts)):
        remedy = "where the network tells a number, such as an age, add --head regression"
    yield Finding(
        kind="note", topic="labels", text=f"{why}: the loss is left out of the membership scores", remedy=remedy
    )


def _of_columns(marks: Sequence[str], films: Sequence[int]) -> str:
    """What the columns hold, and what is made of it."""
    held = Counter[str]()
    for each, number in zip(marks, films, strict=True):
        for mark in each:
            held[mark] += number
    return (
        f"findings in {len(marks[0])} columns of {sum(films)} films: {held[PRESENT]} present, {held[ABSENT]} absent, "
        f"{held[BLANK]} blank (counted as absent), {held[UNCERTAIN]} uncertain (the network's own answer stands)"
    )


def unusable_labels(surveys: Mapping[CohortName, CohortSurvey], match: ArchMatch | None) -> str:
    """What keeps the training labels from being compared with the network's answers; empty where nothing does."""
    counts = _label_counts(surveys)
    unknown = counts.get("", 0)
    room = 0 if match is None else labels_of(meaning(match.head, match.classes), match.classes)
    several = match is not None and match.head == "sigmoid" and match.classes > 1
    words = len({part for label in counts for part in (findings_of(label) if several else {label}) if part})
    if not words:
        return "no training labels were given"
    if unknown:
        return f"films without a training label: {unknown}"
    if words == 1:
        return "all films have the same training label"
    if marks := marks_of(counts):
        return _unusable_columns(marks, match)
    if room and words > room:
        return f"the films have {words} training labels, the network tells {room} apart"
    return ""


def _unusable_columns(marks: Sequence[str], match: ArchMatch | None) -> str:
    if match is None or not match.classes:
        return ""
    if match.head == "regression":
        return "the labels are findings, the network tells a number"
    if len(marks[0]) > match.classes:
        return f"the films have {len(marks[0])} columns of findings, the network has {match.classes} outputs"
    if match.head == "softmax" and len(marks[0]) > 1 and not exclusive(marks):
        return "films have several findings or none, the network tells exclusive classes apart"
    return ""


def _label_counts(surveys: Mapping[CohortName, CohortSurvey]) -> dict[str, int]:
    """Films of both cohorts by training label."""
    counts: dict[str, int] = {}
    for role, found in surveys.items():
        for label, number in found.labels if role != "prior" else ():
            counts[label] = counts.get(label, 0) + number
    return counts


def _is_mark(label: str) -> bool:
    try:
        return bool(read_mark(label))
    except CohortError:
        return False


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def named(
    surveys: Mapping[CohortName, CohortSurvey], found: Mapping[tuple[CohortName, CohortName], Shared]
) -> Iterator[tuple[str, str, str, str]]:
    """(cohort, kind, what, remedy) of every single fault, rows, files and ids included. Restricted."""
    for role, one in surveys.items():
        yield from (
            (COHORTS[role], fault.kind, fault.what, fault.remedy) for fault in one.faults if fault.kind != "source"
        )
    for (first, second), both in found.items():
        names = f"{COHORTS[first]} and {COHORTS[second]}"
        yield from ((names, "id in both cohorts", name, "") for name in both.ids)
        yield from ((names, "id spelt in two ways", f"{a} and {b}", "") for a, b in both.respelt)
        yield from ((names, "picture under two ids", f"{a} and {b}", "") for a, b in both.pictures)
