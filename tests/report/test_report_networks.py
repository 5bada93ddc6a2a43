"""A file of several networks: the worst verdict counts, the rest is named, and any policy can judge all of it again."""

from __future__ import annotations

from datetime import date

import pytest
import results

from reid_audit.judge import judge_again, judged_each, united
from reid_audit.records import AuditResult, Gap, Gate, Metric, NetworkRecord, Outcome
from reid_audit.report import publish, render
from reid_audit.report.modelcard import insert

TODAY = date(2026, 3, 1)
UNKNOWN = NetworkRecord(name="decoder", why="no known architecture explains it", remedy="give its constructor")


def row(name: str, result: AuditResult) -> NetworkRecord:
    return NetworkRecord(name=name, audited=result)


def test_one_network_is_its_own_result() -> None:
    alone = results.passing()
    assert united([row("", alone)]) is alone
    kept = united([row("", alone).model_copy(update={"copies": (("ema", "identical"),)})])
    assert kept.verdict == alone.verdict
    assert kept.networks[0].shown


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_any_failure_fails_the_file_and_is_the_one_shown(order: tuple[int, int]) -> None:
    rows = (row("clean", results.passing()), row("memorised", results.failing()))
    found = united([rows[i] for i in order])
    assert found.verdict.outcome is Outcome.FAIL
    assert "memorised" in found.verdict.reason
    assert found.measurements == results.failing().measurements
    assert {n.name: n.shown for n in found.networks} == {"clean": False, "memorised": True}
    assert {n.name: n.verdict.outcome for n in found.networks if n.verdict} == {
        "clean": Outcome.PASS,
        "memorised": Outcome.FAIL,
    }


def test_all_failures_are_named() -> None:
    found = united([row("a", results.failing()), row("b", results.failing()), row("c", results.passing())])
    assert "So do: b." in found.verdict.reason
    assert any(f.kind == "breach" and "network b" in f.text for f in publish(found).findings)


def test_what_was_not_audited_makes_a_pass_impossible_and_is_named() -> None:
    found = united([row("clean", results.passing()), UNKNOWN])
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.verdict.exit_code == 4
    assert found.verdict.gaps == (
        Gap(text="network decoder: no known architecture explains it", remedy="give its constructor"),
    )
    found = united([row("clean", results.passing()), row("open", results.demoted())])
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.networks[1].shown
    assert united([row("a", results.failing()), UNKNOWN]).verdict.outcome is Outcome.FAIL


def test_two_clean_networks_pass_together() -> None:
    found = united([row("a", results.passing()), row("b", results.passing())])
    assert found.verdict.outcome is Outcome.PASS
    assert "2 networks" in found.verdict.reason
    assert found.spend.seconds == pytest.approx(2 * results.passing().spend.seconds)


def test_another_policy_judges_every_network_again() -> None:
    found = AuditResult.model_validate_json(results.several().model_dump_json())
    lenient = found.policy.model_copy(update={"gates": (Gate(metric=Metric.MEMBERSHIP_AUC, fail=1.0),)})

    def judged(policy: object) -> AuditResult:
        def again(one: AuditResult) -> AuditResult:
            return one.model_copy(update={"verdict": judge_again(one, policy, today=TODAY)})  # type: ignore[arg-type]

        return judged_each(found, again)

    same = judged(found.policy)
    assert same.verdict.outcome is Outcome.FAIL
    assert same.spend.seconds == pytest.approx(found.spend.seconds)
    assert [n.name for n in same.networks if n.shown] == ["fold_1"]
    other = judged(lenient)
    assert other.verdict.outcome is Outcome.INCONCLUSIVE
    assert any("decoder" in gap.text for gap in other.verdict.gaps)
    assert judged_each(results.passing(), lambda one: one) == results.passing()


@pytest.mark.parametrize("format", ["html", "markdown", "sarif", "junit", "json"])
def test_every_format_names_every_network(format: str) -> None:
    text = render(publish(results.several()), format)
    wanted = {"fold_0", "fold_1", "decoder"}
    assert {name for name in wanted if name not in text.replace("\\_", "_")} == set()
    assert ("half precision" in text) == (format in ("html", "markdown", "json"))


@pytest.mark.parametrize("format", ["html", "markdown", "json"])
def test_what_no_network_runs_is_listed_by_name(format: str) -> None:
    text = render(publish(results.several()), format).replace("\\_", "_")
    assert "age_branch.bias" in text
    assert "centers" in text


def test_names_that_are_not_codes_are_hidden() -> None:
    result = results.passing()
    planted = result.architecture.model_copy(update={"unused": ("patient 17.weight", "19991231.bias", "lstm.bias")})
    report = publish(result.model_copy(update={"architecture": planted}))
    assert report.architecture.left_out == ("(another key).weight", "(another key).bias", "lstm.bias")


def test_the_model_card_lists_every_network() -> None:
    text = insert("", publish(results.several()), "report.html").replace("\\_", "_")
    assert all(f"| {name}" in text for name in ("fold_0", "fold_1", "decoder"))
    assert "### Networks" not in insert("", publish(results.passing()), "report.html")


def test_a_network_that_fails_beside_the_one_shown_is_a_result_of_its_own() -> None:
    report = publish(united([row("a", results.failing()), row("b", results.failing())]))
    text = render(report, "sarif")
    assert '"ruleId": "network"' in text
    assert "Network b" in text


def test_figures_about_few_people_stay_hidden_for_every_network() -> None:
    few = results.failing()
    shrunk = tuple(
        m.model_copy(update={"n": 5}) if m.metric.value.startswith(("age_", "sex_")) else m for m in few.measurements
    )
    found = united([row("a", results.failing()), row("b", few.model_copy(update={"measurements": shrunk}))])
    (other,) = [n for n in publish(found).networks if not n.shown]
    assert {m.status for m in other.measurements if m.metric is Metric.AGE_MAE_RECONSTRUCTION} == {"unmeasured"}
