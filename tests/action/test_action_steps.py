"""The steps of action.yml, run as they stand, on a leaking, a clean, an inconclusive and a crashing audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from place import SHA, Place, edit, notes_of, results

from reid_audit.report import FILES, publish, render


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path)


def test_leaking(place: Place) -> None:
    place.write(results.failing())
    job = place.run(1)
    assert job.code == 1
    assert job.outputs == {
        "verdict": "fail",
        "exit-code": "1",
        "report-json": str(place.report() / "report.json"),
        "report-html": str(place.report() / "report.html"),
        "sarif": str(place.report() / "report.sarif"),
        "junit": str(place.report() / "report.junit.xml"),
        "checkpoint-sha256": SHA,
        "results": job.outputs["results"],
        "failed-gates": "linkage_p,membership_auc,membership_tpr_at_1pct_fpr,likely_samples,nearest_ssim,nearest_nn",
    }
    assert job.ran[-1] == "Exit code"
    errors = notes_of(job, "error")
    assert len(errors) == 6
    assert errors[0].startswith(
        "::error title=reid-audit linkage_p::Linkage test (p): 6 of 16 training patients were re"
    )
    (gap,) = notes_of(job, "warning")
    assert "reid-audit linkage_tpr_at_1pct_fpr" in gap
    assert job.summary == (place.prepared / "report.md").read_text(encoding="utf-8")
    for name in FILES.values():
        assert (place.report() / name).read_bytes() == (place.prepared / name).read_bytes()


def test_clean(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (0, "pass", "0")
    assert job.outputs["failed-gates"] == ""
    assert notes_of(job, "error") == notes_of(job, "warning") == []
    assert "PASS" in job.summary


def test_what_changed_since_an_earlier_report_is_in_the_summary(place: Place) -> None:
    (place.workspace / "before.json").write_text(render(publish(results.failing()), "json"), encoding="utf-8")
    place.write(results.passing())
    job = place.run(0, compare_with="before.json")
    assert (job.code, job.outputs["verdict"]) == (0, "pass")
    own, _, changed = job.summary.partition("## ✅ Fail before, Pass now: better")
    assert own.strip() == (place.prepared / "report.md").read_text(encoding="utf-8").strip()
    assert "### Gates that changed" in changed


def test_an_earlier_report_that_cannot_be_read_changes_no_verdict(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0, compare_with="nowhere.json")
    assert (job.code, job.outputs["verdict"]) == (0, "pass")
    (warning,) = notes_of(job, "warning")
    assert "nowhere.json is not known" in warning


def test_inconclusive(place: Place) -> None:
    place.write(results.screening())
    job = place.run(4)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (4, "inconclusive", "4")
    warnings = notes_of(job, "warning")
    assert len(warnings) == 2
    assert "title=reid-audit evidence::" in warnings[0]
    assert "raise --budget" in warnings[0]
    assert notes_of(job, "error") == []
    assert "INCONCLUSIVE" in job.summary
    assert Path(place.workspace, job.outputs["report-html"]).is_file()


def test_crashing(place: Place) -> None:
    job = place.run(3)
    assert (job.code, job.outputs["verdict"], job.outputs["exit-code"]) == (3, "not_audited", "3")
    assert job.outputs["report-json"] == ""
    assert "wrote no report" in notes_of(job, "error")[0]
    assert "NOT AUDITED" in job.summary


@pytest.mark.parametrize(
    ("fail_on", "expected"), [("fail", {"fail": 1, "inconclusive": 0}), ("never", {"fail": 0, "inconclusive": 0})]
)
@pytest.mark.parametrize(("outcome", "code"), [("fail", 1), ("inconclusive", 4)])
def test_fail_on_forgives_verdicts(
    place: Place, fail_on: str, expected: dict[str, int], outcome: str, code: int
) -> None:
    place.write(results.failing() if outcome == "fail" else results.screening())
    job = place.run(code, fail_on=fail_on)
    assert job.code == expected[outcome]
    assert job.outputs["exit-code"] == str(expected[outcome])
    assert job.outputs["verdict"] == outcome


@pytest.mark.parametrize("fail_on", ["never", "sometimes"])
def test_fail_on_forgives_no_crash(place: Place, fail_on: str) -> None:
    assert place.run(3, fail_on=fail_on).code == 3


def other_weights(place: Place) -> None:
    place.write(results.passing(), sha256="ab" * 32)


def failing_report(place: Place) -> None:
    place.write(results.failing())


def broken_report(place: Place) -> None:
    (place.prepared / "report.json").write_text('{"schema": "reid-audit/report/2"', encoding="utf-8")


def next_schema(place: Place) -> None:
    edit(place, lambda document: document.update(schema="reid-audit/report/3"))


def contradiction(place: Place) -> None:
    edit(place, lambda document: document["verdict"].update(outcome="fail"))


def report_of_an_earlier_run(place: Place) -> None:
    place.write(results.passing())
    earlier = place.report().with_name("earlier-run")
    earlier.parent.mkdir(parents=True)
    place.prepared.rename(earlier)
    place.report().symlink_to(earlier.name)
    place.prepared.mkdir()


@pytest.mark.parametrize(
    "prepare", [other_weights, failing_report, broken_report, next_schema, contradiction, report_of_an_earlier_run]
)
def test_what_is_not_this_verdict_is_not_audited(place: Place, prepare: Callable[[Place], None]) -> None:
    prepare(place)
    job = place.run(0)
    assert (job.code, job.outputs["verdict"], job.outputs["report-json"]) == (3, "not_audited", "")
    assert len(notes_of(job, "error")) == 1


def test_missing_checkpoint(place: Place) -> None:
    place.write(results.passing())
    job = place.run(0, checkpoint="elsewhere.pt")
    assert (job.code, job.outputs["checkpoint-sha256"]) == (3, "")


def test_an_earlier_run_stays_where_it_is(place: Place) -> None:
    report_of_an_earlier_run(place)
    assert place.run(3).code == 3
    assert (place.report().with_name("earlier-run") / "report.json").is_file()
    assert not place.report().exists()


def test_a_pointer_that_is_a_text_file_is_followed(place: Place) -> None:
    place.links = False
    place.write(results.passing())
    job = place.run(0)
    assert (job.code, job.outputs["report-json"]) == (0, str(place.report().with_name("this-run") / "report.json"))
    place.prepared.rename(place.temp / "done")
    place.prepared.mkdir()
    assert place.run(0).outputs["verdict"] == "not_audited"


def test_a_pointer_that_is_a_folder_is_not_taken_for_this_run(place: Place) -> None:
    place.write(results.passing())
    place.report().mkdir(parents=True)
    job = place.run(0)
    assert (job.code, job.outputs["verdict"]) == (3, "not_audited")
    assert "clear out-dir" in notes_of(job, "error")[0]
