"""The public document: what it may hold, what it hides, and that its schema is the shipped one."""

from __future__ import annotations

import json
import types
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import jsonschema
import pytest
import results
from pydantic import BaseModel, StringConstraints, ValidationError
from run_parts import sha

from reid_audit.records import Breach, Control, Gap, Measured, Metric, Outcome, Reason, replaced
from reid_audit.report import FORMATS, dumps, loads, publish, render
from reid_audit.report.publication import ROC_GRID, scrub
from reid_audit.report.schema import schema_text
from reid_audit.report.wire import MAX_POINTS, Digests, PublicReport, Tally

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = results.JUDGED
LEAVES = (bool, int, float, type(None), datetime, date)
FORBIDDEN_WORDS = ("pixel_values", "latent", "embedding", "row_id", "patient_id", "image_data", "path", "file")
TEXT_LIMIT = 400


def _walk(annotation: Any, where: str, seen: set[type], limits: tuple[Any, ...] = ()) -> list[str]:
    """Every reason why a value of ``annotation`` could hold more than aggregate numbers and short words."""
    if annotation in (Tally, Digests):
        return []
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *meta = get_args(annotation)
        return _walk(inner, where, seen, (*limits, *meta))
    if origin in (Union, types.UnionType):
        return [p for a in get_args(annotation) for p in _walk(a, where, seen, limits)]
    if origin is Literal or annotation in LEAVES or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return []
    if annotation is str:
        bounds = [m for m in limits if isinstance(m, StringConstraints)]
        short = any(b.pattern and ((b.max_length or 10**9) <= TEXT_LIMIT or "{64}$" in str(b.pattern)) for b in bounds)
        return [] if short else [f"{where}: unbounded text"]
    if origin is tuple:
        return _walk_tuple(get_args(annotation), where, seen, limits)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _walk_model(annotation, where, seen)
    return [f"{where}: {annotation} is no published type"]


def _bound(limits: tuple[Any, ...]) -> int | None:
    found = []
    for limit in limits:
        for part in getattr(limit, "metadata", [limit]):
            if isinstance(part, annotated_types.MaxLen):
                found.append(part.max_length)
    return min(found, default=None)


def _walk_tuple(args: tuple[Any, ...], where: str, seen: set[type], limits: tuple[Any, ...]) -> list[str]:
    problems = [p for a in args if a is not Ellipsis for p in _walk(a, where, seen)]
    inner = args[0]
    while get_origin(inner) is Annotated:
        inner = get_args(inner)[0]
    bound = _bound(limits)
    if Ellipsis in args and inner in (int, float) and (bound is None or bound > MAX_POINTS):
        problems.append(f"{where}: a list of numbers without a short bound")
    return problems


def _walk_model(model: type[BaseModel], where: str, seen: set[type]) -> list[str]:
    if model in seen:
        return []
    seen.add(model)
    problems = []
    for name, field in model.model_fields.items():
        if any(word in name for word in FORBIDDEN_WORDS):
            problems.append(f"{where}.{name}: the name promises what must not be published")
        problems += _walk(field.annotation, f"{where}.{name}", seen, tuple(field.metadata))
    return problems


def test_no_field_can_hold_a_patient() -> None:
    assert _walk(PublicReport, "report", set()) == []


def test_the_walk_can_fail() -> None:
    class Leaky(BaseModel):
        latents: tuple[float, ...]
        image: bytes
        note: str
        scores: dict[str, float]

    assert len(_walk(Leaky, "leaky", set())) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_round_trip_and_schema(example: Any) -> None:
    report = publish(example())
    text = dumps(report)
    assert loads(text) == report
    jsonschema.Draft202012Validator(json.loads(schema_text())).validate(json.loads(text))


def test_shipped_schema_is_the_current_one() -> None:
    shipped = (REPOSITORY / "docs" / "report.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(), "run: python -m reid_audit.report.schema > docs/report.schema.json"


def test_schema_refuses_another_version() -> None:
    text = json.loads(dumps(publish(results.passing())))
    text["schema"] = "reid-audit/report/3"
    with pytest.raises(ValidationError):
        loads(json.dumps(text))


def test_a_newer_field_is_ignored() -> None:
    text = json.loads(dumps(publish(results.passing())))
    text["later"] = {"field": 1}
    assert loads(json.dumps(text)) == publish(results.passing())


def test_exit_code_cannot_contradict_the_outcome() -> None:
    text = json.loads(dumps(publish(results.failing())))
    text["verdict"]["exit_code"] = 0
    with pytest.raises(ValidationError, match="does not belong"):
        loads(json.dumps(text))


@pytest.mark.parametrize(("n", "shown"), [(9, False), (10, True), (None, False)])
def test_small_demographic_cells_are_suppressed(n: int | None, shown: bool) -> None:
    result = results.failing()
    cell = Measured(metric=Metric.SEX_ACCURACY_RECONSTRUCTION, value=0.987654, control=0.5, n=n)
    others = tuple(m for m in result.measurements if m.metric is not cell.metric)
    said = "sex_accuracy_reconstruction 0.987654 over its control breaches 0.2"
    update = {
        "breaches": (Breach(metric=cell.metric, text=said),),
        "gaps": (Gap(metric=cell.metric, text=said, remedy="repeat"), Gap(text=said, remedy=said)),
        "warnings": (said,),
        "reason": f"{said}.",
    }
    verdict = result.verdict.model_copy(update=update)
    report = publish(result.model_copy(update={"measurements": (*others, cell), "verdict": verdict}))
    found = next(m for m in report.measurements if m.metric is cell.metric)
    assert (found.status == "measured") is shown
    assert any("0.987654" in render(report, format) for format in FORMATS) is shown
    assert report.verdict.breaches == (cell.metric,)
    if not shown:
        assert found.status == "unmeasured"
        assert found.reason is Reason.SMALL_CELL


def test_gate_statuses() -> None:
    failing = {g.metric: g for g in publish(results.failing()).gates}
    assert failing[Metric.LINKAGE_P].status == "breach"
    assert failing[Metric.LINKAGE_P].margin == pytest.approx(-0.0095)
    assert failing[Metric.LINKAGE_TPR].status == "open"
    assert failing[Metric.SINGLE_HIT].status == "indicator"
    assert failing[Metric.MEMBERSHIP_TPR].compared == pytest.approx(0.794)
    assert failing[Metric.NEAREST_SSIM].compared == pytest.approx(0.481 - 0.421)
    assert {g.status for g in publish(results.passing()).gates} == {"clear"}
    waived = {g.metric: g for g in publish(results.waived()).gates}[Metric.LIKELY_SAMPLES]
    assert waived.status == "waived"
    assert waived.waiver is not None
    assert waived.waiver.expires == date(2027, 3, 1)
    assert {g.status for g in publish(results.screening()).gates} == {"unmeasured", "indicator"}


def test_a_demoted_gate_says_what_was_measured_and_why_it_does_not_count() -> None:
    report = publish(results.demoted())
    gates = {g.metric: g for g in report.gates}
    for metric in (Metric.LINKAGE_P, Metric.MEMBERSHIP_TPR, Metric.NEAREST_SSIM):
        assert gates[metric].status == "indicator"
        assert gates[metric].doubt is Reason.NOT_EXCHANGEABLE
        assert gates[metric].value is not None
    shown = next(m for m in report.measurements if m.metric is Metric.LINKAGE_AUC)
    assert shown.status == "measured"
    assert (shown.indicator, shown.doubt) == (True, Reason.NOT_EXCHANGEABLE)
    assert gates[Metric.LINKAGE_P].metric not in {g.metric for g in publish(results.passing()).gates if g.doubt}
    for format in ("markdown", "junit"):
        assert "does not count. Training and hold-out images, or their labels, differ in kind" in render(report, format)
    assert results.demoted().measurements[0] == results.passing().measurements[0], "the run keeps what it measured"


def test_a_waiver_for_another_checkpoint_is_not_shown() -> None:
    result = results.waived()
    other = result.waivers[0].model_copy(update={"checkpoint_sha256": sha("0")})
    assert all(g.waiver is None for g in publish(results.again(result, waivers=(other,))).gates)


def test_controls() -> None:
    assert {c.status for c in publish(results.passing()).controls} == {"met"}
    assert {c.status for c in publish(results.screening()).controls} == {"unmeasured"}
    result = results.passing()
    weak = Measured(metric=Metric.SCORER_SENSITIVITY, value=0.55, low=0.42, high=0.67, n=64)
    again = results.again(result, measurements=replaced(result.measurements, (weak,)))
    row = {c.name: c for c in publish(again).controls}[Control.SCORER_SENSITIVITY]
    assert (row.status, row.lacking) == ("missed", True)
    assert row.remedy


def test_curves_are_resampled_and_unknown_ones_dropped() -> None:
    result = results.passing()
    private = result.curves[0].model_copy(update={"id": "per_patient"})
    curves = publish(result.model_copy(update={"curves": (*result.curves, private)})).curves
    assert [c.id for c in curves] == ["membership_roc"]
    assert curves[0].x == ROC_GRID
    assert list(curves[0].y) == sorted(curves[0].y)


def test_cohort_digests_and_odd_column_names_stay_private() -> None:
    result = results.failing()
    cohort = result.cohorts[0].model_copy(update={"strata": ("sex", "P00012345")})
    text = dumps(publish(result.model_copy(update={"cohorts": (cohort,)})))
    assert cohort.digest not in text
    assert "P00012345" not in text
    assert "other column" in text


@pytest.mark.parametrize(
    "heard",
    [
        "/data/ward 7",
        "see /srv/films/00012345_000.png now",
        "C:\\films\\a.dcm",
        "~/x/y",
        "00012345_000.PNG",
        "../data/t",
    ],
)
def test_scrub_removes_paths(heard: str) -> None:
    clean = scrub(heard)
    assert "[file]" in clean
    assert "00012345" not in clean
    assert "films" not in clean


def test_scrub_keeps_ordinary_sentences() -> None:
    heard = "Give hold-out images with --holdout; 6 of 16 and/or 388/395 (p = 0.01), see reid-audit.toml."
    assert scrub(heard) == heard
    assert len(scrub("word " * 200)) <= 400
    assert "\n" not in scrub("a\nb\x1b[31m")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_can_be_published(outcome: Outcome) -> None:
    result = results.passing()
    verdict = result.verdict.model_copy(update={"outcome": outcome})
    assert publish(result.model_copy(update={"verdict": verdict})).verdict.outcome is outcome


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_golden_json(example: Any) -> None:
    golden = GOLDEN / f"{example.__name__}.json"
    assert dumps(publish(example())) == golden.read_text(encoding="utf-8")


def test_the_report_says_what_read_age_and_sex() -> None:
    report = publish(results.failing())
    assert report.predictor is not None
    for text in (render(report, "html"), render(report, "markdown")):
        assert "the shipped predictor, fitted on 1,213 films of 824 patients" in text
        assert "age error 9.8 years (guessing 12.8), sex AUC 0.91" in text
    assert "p 0.12" in render(report, "html").replace("\u00a0", " ")
    card = results.failing().predictor
    assert card is not None
    changed = {"patients": 9, "overlap": "unknown"}
    few = publish(results.failing().model_copy(update={"predictor": card.model_copy(update=changed)}))
    assert few.predictor is not None
    assert few.predictor.sex_auc is None
    assert "figures do not decide" in render(few, "html")
    nobody = publish(results.failing().model_copy(update={"predictor": None}))
    assert "Read by" not in render(nobody, "html")
