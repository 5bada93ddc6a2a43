"""Each rendering of the public report."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
import results
from markupsafe import escape
from run_parts import sha

from reid_audit.judge import judge_again
from reid_audit.records import (
    REASON_TEXT,
    ArchMatch,
    AuditResult,
    Measured,
    Metric,
    Outcome,
    PreprocessCandidate,
    PreprocessFit,
    Reason,
    Unmeasured,
    Waiver,
    replaced,
)
from reid_audit.report import FILES, FORMATS, Format, plain, publish, render, words, write_reports
from reid_audit.report.advice import advice
from reid_audit.report.command import command, repeatability

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = results.JUDGED
HOSTILE = "<script>alert(1)</script> | `x` ![a](http://evil.example/x) [b](javascript:1)"


class Page(HTMLParser):
    """Tags, attributes and nesting of a page."""

    VOID = frozenset({"meta", "br", "wbr", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _hostile() -> Any:
    result = results.screening()
    verdict = result.verdict.model_copy(update={"reason": HOSTILE, "warnings": (HOSTILE,)})
    return result.model_copy(update={"verdict": verdict, "method": HOSTILE})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_golden_markdown(example: Any) -> None:
    golden = GOLDEN / f"{example.__name__}.md"
    assert render(publish(example()), "markdown") == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_html_is_one_well_formed_offline_page(example: Any) -> None:
    text = render(publish(example()), "html")
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base"}
    attributes = [(k, v or "") for _, attrs in page.tags for k, v in attrs.items()]
    assert not [k for k, _ in attributes if k == "style" or k.startswith("on")]
    assert all(v.startswith("#") for k, v in attributes if k in ("href", "src"))
    assert "url(" not in text
    assert "@import" not in text
    ids = [v for k, v in attributes if k == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for k, v in attributes if k == "href"} <= set(ids)
    assert len(text.encode()) < 500_000


def test_html_lets_only_its_own_style_in() -> None:
    import base64
    import hashlib

    text = render(publish(results.passing()), "html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize(("example", "word"), [(results.failing, "Fail"), (results.passing, "Pass")])
def test_verdict_comes_first(example: Any, word: str) -> None:
    report = publish(example())
    text = render(report, "html")
    main = text[text.index("<main") :].replace("\u00a0", " ")
    assert main.index(word) < main.index(str(escape(plain.headline(report)))) < main.index('id="gates"')
    order = ["scope", "gates", "bracket", "controls", "budget", "architecture", "prior", "shift", "demographics"]
    places = [main.index(f'<h2 id="{name}"') for name in [*order, "provenance", "reproduce"]]
    assert places == sorted(places)


def test_screening_is_headed_so() -> None:
    report = publish(results.screening())
    assert "<h1>Re-identification screening</h1>" in render(report, "html")
    assert "Re-identification screening" in render(report, "markdown").splitlines()[0]
    assert "screening" not in render(publish(results.passing()), "markdown").lower()


def test_a_pass_claims_power_only_where_it_was_shown() -> None:
    shown = "the same attack was shown to find planted patients"
    result = results.passing()
    assert shown in plain.meaning(publish(result))
    controls = result.policy.controls.model_copy(update={"attack_power": False})
    waived = results.again(result, policy=result.policy.model_copy(update={"controls": controls}))
    assert shown not in plain.meaning(publish(waived))
    blind = result.model_copy(update={"verdict": result.verdict.model_copy(update={"screening": True})})
    assert shown not in plain.meaning(publish(blind))
    assert "no figure below is calibrated" in plain.meaning(publish(blind))


def test_a_base_is_named_wherever_the_audit_is_to_be_repeated() -> None:
    example = results.failing()
    with_base = example.model_copy(
        update={
            "digests": (*example.digests, ("base", "b" * 64)),
            "options": (*example.options, ("base", "resnet18.pt")),
        }
    )
    without, named = (render(publish(found), "html") for found in (example, with_base))
    assert "--base BASE" in named
    assert "Base SHA-256" in named
    assert "public weights they were fine-tuned from" in named
    assert "BASE" not in without
    assert "only the file with the weights" in without


def near(value: float) -> AuditResult:
    """A membership rate whose lower end just misses, or just breaches, the 5 % that fail."""
    result = results.failing()
    found = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.2, low=value, high=0.3, control=0.0, n=388)
    return results.again(result, measurements=replaced(result.measurements, (found,)))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_on_which_side_of_a_limit_a_number_lies(format: Format) -> None:
    """5.0000001 % and 4.9999999 % are both 5 % in two digits, and one of them fails the model."""
    beyond, within = (publish(near(low)) for low in (0.050000001, 0.049999999))
    assert Metric.MEMBERSHIP_TPR in beyond.verdict.breaches
    assert Metric.MEMBERSHIP_TPR not in within.verdict.breaches
    assert re.search(r"5\.0000001|0\.050000001", render(beyond, format))
    if format in ("html", "markdown"):
        assert "4.9999999" in render(within, format)


def test_the_command_carries_what_was_given_and_hides_whose_it_is() -> None:
    report = publish(results.failing())
    assert command(report) == (
        "reid-audit check MODEL --policy POLICY --reference TRAINING --holdout HOLDOUT --strata sex --label COLUMN "
        "--budget 600s --deterministic --method moments --seed 0"
    )
    for format in ("html", "markdown"):
        assert "--budget 600s" in render(report, format)
    assert "depends on the machine" in repeatability(report)
    steps = report.model_copy(update={"budget": report.budget.model_copy(update={"seconds": None})})
    assert "the same on the same machine" in repeatability(steps)


def test_a_network_is_named_in_the_command_only_as_the_report_names_it() -> None:
    def shown(name: str) -> str:
        return command(publish(results.failing().model_copy(update={"options": (("arch", name),)})))

    assert "--arch torchvision/resnet18 " in shown("torchvision/resnet18")
    assert "--arch ARCH " in shown("ward 7")


def test_a_document_without_options_still_has_a_command() -> None:
    report = publish(results.failing().model_copy(update={"options": ()}))
    assert command(report).startswith("reid-audit check MODEL --policy POLICY --reference TRAINING --holdout HOLDOUT")


def test_headline_is_about_people() -> None:
    said = plain.headline(publish(results.failing()))
    assert said.startswith(
        "6 of 16 training patients were re-identified: p-value 0.0005; the policy fails at or below 0.01."
    )
    assert said.endswith("4 more gates are breached.")
    assert plain.headline(publish(results.screening())).startswith("No gate was breached, but 2 pieces of evidence")
    for example in EXAMPLES:
        assert not set(plain.headline(publish(example())).split()) & {m.value for m in Metric}


def test_one_patient_is_one_patient() -> None:
    result = results.failing()
    one = Measured(metric=Metric.REIDENTIFIED_PATIENTS, value=1.0, control=0.0, n=16)
    report = publish(results.again(result, measurements=replaced(result.measurements, (one,))))
    assert plain.headline(report).startswith("1 of 16 training patients was re-identified: ")


@pytest.mark.parametrize("format", ["html", "markdown"])
def test_the_distribution_says_why_a_figure_is_missing(format: Format) -> None:
    result, reason = results.failing(), Reason.TOO_FEW_RECONSTRUCTIONS
    absent = tuple(
        Unmeasured(metric=metric, reason=reason)
        for metric in (Metric.PIXEL_ENTROPY_TUNED, Metric.PCA_KURTOSIS_TUNED, Metric.FID_TUNED_REFERENCE)
    )
    text = render(publish(results.again(result, measurements=replaced(result.measurements, absent))), format)
    assert text.count(f"tuned: {REASON_TEXT[reason]}") == 3
    assert f"tuned: {REASON_TEXT[reason]}" not in render(publish(result), format)


def test_the_floor_of_the_fid_stands_beside_each_figure() -> None:
    """Each FID is held against its own floor, that of as many images."""
    result = results.passing()
    fids = (
        Measured(metric=Metric.FID_PRIOR_REFERENCE, value=60.0, control=20.0, n=200),
        Measured(metric=Metric.FID_TUNED_REFERENCE, value=66.0, control=80.0, n=30),
    )
    report = publish(results.again(result, measurements=replaced(result.measurements, fids)))
    assert plain.fid_note(report).endswith(
        "80.0: distances below it cannot be told apart. 1 of 2 FIDs of this run is below it."
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_almost_empty_audit_renders(outcome: Outcome) -> None:
    result = results.screening()
    verdict = result.verdict.model_copy(update={"outcome": outcome, "gaps": (), "reason": "It stopped."})
    bare = {"measurements": (), "histograms": (), "curves": (), "cohorts": (), "attack_runs": (), "verdict": verdict}
    for format in FORMATS:
        text = render(publish(result.model_copy(update=bare)), format)
        assert "It stopped." in text or format == "sarif"


def test_every_measurement_is_in_the_page() -> None:
    report = publish(results.failing())
    text = render(report, "html")
    assert all(f"<code>{m.metric}</code>" in text.replace("<wbr>", "") for m in report.measurements)


def test_each_gap_names_its_remedy() -> None:
    report = publish(results.screening())
    for format in ("html", "markdown", "sarif"):
        text = render(report, format)
        assert text.count("To close it: ") == len(report.verdict.gaps)


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_text_stays_text(format: Any) -> None:
    text = render(publish(_hostile()), format)
    if format in ("html", "junit", "data-protection"):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
    elif format == "markdown":
        assert "<script" not in text.replace(r"\<script", "")
        assert "![a]" not in text
        assert all(line.count(" | ") <= 7 for line in text.splitlines() if line.startswith("| "))
    else:
        json.loads(text)


def test_only_a_public_report_is_rendered() -> None:
    with pytest.raises(TypeError, match="PublicReport"):
        render(results.passing(), "json")  # type: ignore[arg-type]


def test_every_metric_outcome_and_control_has_words() -> None:
    assert set(words.METRICS) == set(Metric)
    assert set(words.OUTCOME_WORD) == set(words.OUTCOME_MEANING) == set(Outcome)
    assert {c.name for c in publish(results.passing()).controls} == set(words.CONTROLS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "share", "0 %"), (0.034, "share", "3.4 %"), (0.0995, "share", "10 %"), (1.0, "share", "100 %"),
        (0.0005, "p", "0.0005"), (0.42, "p", "0.42"), (0.00001, "p", "< 0.0001"), (-0.0095, "p", "−0.0095"),
        (6.0, "count", "6"), (0.6, "count", "0.6"), (8.94, "years", "8.9 years"), (0.904, "score", "0.904"),
        (None, "share", "–"),
    ],
)  # fmt: skip
def test_numbers_read_well(value: float | None, unit: Any, text: str) -> None:
    assert words.number(value, unit) == text


def test_mitigations_fit_the_breach() -> None:
    assert plain.mitigations(publish(results.passing())) == ()
    offered = plain.mitigations(publish(results.failing()))
    assert len(offered) == len(set(offered))
    assert set(plain.GENERAL["membership"]) <= set(offered)
    assert set(advice("membership", 16, statistics=True)) <= set(offered)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.__name__)
def test_sarif_is_what_code_scanning_accepts(example: Any) -> None:
    report = publish(example())
    log = json.loads(render(report, "sarif"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    assert len(run["results"]) == len([f for f in report.findings if f.kind != "warning"])
    prints = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note")
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "report.md"
        assert location["physicalLocation"]["region"]["startLine"] == 1
        prints.add(result["partialFingerprints"]["gateAndCheckpoint/v1"])
    assert len(prints) == len(run["results"])
    assert run["invocations"][0]["exitCode"] == report.verdict.exit_code


def test_sarif_fingerprint_follows_gate_and_checkpoint() -> None:
    def prints(result: Any) -> list[str]:
        log = json.loads(render(publish(result), "sarif"))
        return [r["partialFingerprints"]["gateAndCheckpoint/v1"] for r in log["runs"][0]["results"]]

    result = results.failing()
    other = result.model_copy(update={"checkpoint": result.checkpoint.model_copy(update={"sha256": sha("7")})})
    reworded = result.verdict.breaches[0].model_copy(update={"text": "Other words."})
    verdict = result.verdict.model_copy(update={"breaches": (reworded, *result.verdict.breaches[1:])})
    assert prints(result) == prints(result.model_copy(update={"verdict": verdict}))
    assert not set(prints(result)) & set(prints(other))


def test_sarif_shows_a_waiver_as_suppression() -> None:
    log = json.loads(render(publish(results.waived()), "sarif"))
    (result,) = log["runs"][0]["results"]
    assert result["suppressions"][0]["status"] == "accepted"
    assert "Data protection office" in result["suppressions"][0]["justification"]


@pytest.mark.parametrize(("example", "failures"), [(results.failing, 7), (results.passing, 0), (results.screening, 0)])
def test_junit(example: Any, failures: int) -> None:
    report = publish(example())
    root = ET.fromstring(render(report, "junit"))
    cases = root.findall("./testsuite/testcase")
    assert len(cases) == int(root.attrib["tests"]) == 1 + len(report.gates) + len(report.controls)
    assert len(root.findall(".//failure")) == int(root.attrib["failures"]) == failures
    assert len(root.findall(".//skipped")) == int(root.attrib["skipped"])


def test_write_reports(tmp_path: Path) -> None:
    report = publish(results.failing())
    written = write_reports(report, tmp_path / "new" / "out")
    assert {f: p.name for f, p in written.items()} == FILES
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(FILES.values())
    for format, path in written.items():
        assert path.read_text(encoding="utf-8") == render(report, format)
    assert set(write_reports(report, tmp_path / "one", ("json",))) == {"json"}


@pytest.mark.parametrize("format", FORMATS)
def test_a_waived_breach_stays_visible_with_who_answers_for_it(format: str) -> None:
    """A PASS by waiver, as the judge words it, in every format."""
    breach = Measured(metric=Metric.MEMBERSHIP_TPR, value=0.3, low=0.2, high=0.5, control=0.01, n=388)
    result = results.passing()
    waiver = Waiver(
        gate=breach.metric,
        checkpoint_sha256=result.checkpoint.sha256,
        reason="released to the ethics board only",
        approved_by="Data protection office",
        expires=date(2027, 3, 1),
    )
    result = result.model_copy(update={"measurements": replaced(result.measurements, (breach,)), "waivers": (waiver,)})
    verdict = judge_again(result, result.policy, waivers=result.waivers, today=date(2026, 3, 1))
    assert verdict.outcome is Outcome.PASS
    text = render(publish(result.model_copy(update={"verdict": verdict})), format)
    shown = (breach.metric.value, waiver.approved_by, waiver.reason, "2027")
    assert [part for part in shown if part not in text] == []
    assert "suppressions" in text if format == "sarif" else "waived" in text.lower()


def test_a_policy_that_refuses_code_in_pickles_passes_no_run_on_a_file_that_names_some() -> None:
    result = results.passing()
    named = result.checkpoint.model_copy(update={"pickled_code": ("my_project.config.Config",)})
    result = result.model_copy(update={"checkpoint": named})
    policy = result.policy.model_copy(update={"pickled_code": "refuse"})
    assert judge_again(result, result.policy, today=date(2026, 3, 1)).outcome is Outcome.PASS
    verdict = judge_again(result, policy, today=date(2026, 3, 1))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any("my_project.config.Config" in gap.text for gap in verdict.gaps)


@pytest.mark.parametrize("source", get_args(ArchMatch.model_fields["side_by"].annotation))
@pytest.mark.parametrize("values", get_args(AuditResult.model_fields["preprocess_by"].annotation))
def test_every_origin_of_the_preprocessing_has_words(source: str, values: str) -> None:
    result = results.passing()
    match = result.architecture.model_copy(update={"side_by": source})
    spec = result.preprocess
    fit = PreprocessFit(
        best=spec, by="statistics", films=512, candidates=(PreprocessCandidate(spec=spec, misfit=0.01),)
    )
    changed = {"architecture": match, "preprocess_by": values, "preprocess_fit": fit}
    page = render(publish(result.model_copy(update=changed)), "html")
    assert escape(spec.toml().splitlines()[1]) in page
