"""The page of a mitigated copy: one record in three formats, and never braver than its evidence."""

from __future__ import annotations

import json
import re

import pytest
import results

from reid_audit.judge import held
from reid_audit.records import (
    AppliedMitigation,
    AuditResult,
    CarriedPatients,
    Metric,
    MitigationEffect,
    MitigationResult,
    Outcome,
    UtilityRow,
)
from reid_audit.report import dumps
from reid_audit.report.mitigation import MitigationDocument, document
from reid_audit.report.mitigation_pages import (
    BLIND,
    EFFECT,
    OUT_OF_SIGHT,
    UNSEEN,
    effects,
    figures,
    headline,
    meaning,
    planted,
    remains,
    render_html,
    render_markdown,
)

ROW = UtilityRow(
    name="accuracy",
    patients=387,
    before=0.80,
    before_low=0.76,
    before_high=0.84,
    after=0.785,
    after_low=0.74,
    after_high=0.82,
    change=-0.015,
    low=-0.04,
    high=0.01,
)


def storing(found: AuditResult, count: int) -> AuditResult:
    return found.model_copy(update={"architecture": found.architecture.model_copy(update={"data_statistics": count})})


def made(effect: MitigationEffect, after: AuditResult | None = None, **more: object) -> MitigationDocument:
    before, alone = storing(results.failing(), 9600), storing(after or results.passing(), 0)
    applied = AppliedMitigation(
        name="recompute-bn",
        idea="Replace <statistics>.",
        source="Li et al. 2016",
        done="20 layers",
        remains=("Weights stay.",),
        effect=effect,
    )
    kept = held(before, alone, [applied])
    found = MitigationResult(before=before, after=kept, alone=alone.verdict.outcome, applied=(applied,), utility=(ROW,))
    return document(found.model_copy(update=more))


def test_a_copy_that_only_hides_is_inconclusive_in_every_format() -> None:
    found = made("hides")
    assert (found.outcome, found.alone, found.exit_code) == (Outcome.INCONCLUSIVE, Outcome.PASS, 4)
    assert headline(found) == "Fail before, Inconclusive after"
    assert "it does not know what was done" in meaning(found)
    for text in (render_markdown(found), render_html(found)):
        assert "Inconclusive" in text
        assert "out of sight" in text
        assert "did not pass" in text
    assert json.loads(dumps(found))["outcome"] == "inconclusive"


def test_replaced_statistics_decide_nothing_about_reconstructions() -> None:
    found = made("replaces")
    assert found.statistics_replaced
    assert effects(found)[0] == EFFECT["replaces"]
    said = {line.metric: line.says for line in figures(found)}
    assert said[Metric.LINKAGE_P] == said[Metric.REIDENTIFIED_PATIENTS] == BLIND["nothing_to_read"]
    assert said[Metric.MEMBERSHIP_TPR].endswith("asked by its answers alone")


def test_a_blind_membership_score_is_named() -> None:
    seeing, before = made("trims"), results.failing()
    assert UNSEEN not in effects(seeing)
    unmeasured = tuple(m for m in results.passing().measurements if m.metric is not Metric.MEMBERSHIP_CONTROL)
    blind = made("trims", results.again(results.passing(), measurements=unmeasured))
    assert UNSEEN in effects(blind)
    assert before.verdict.outcome is Outcome.FAIL


def test_a_file_of_several_networks_is_said_from_its_copy() -> None:
    found = made("trims").model_copy(update={"networks": 3})
    assert "held 3 networks" in meaning(found)
    assert "networks" not in meaning(made("trims"))


def test_planted_patients_are_said_of_and_do_not_flatter_what_hides() -> None:
    carried = CarriedPatients(patients=8, before=1.0, after=0.125)
    replaced, hidden = (made(effect).model_copy(update={"carried": carried}) for effect in ("replaces", "hides"))
    assert "recognised 100 % of them before and 13 % after" in planted(replaced).replace("\u00a0", " ")
    assert planted(hidden).endswith(OUT_OF_SIGHT)
    assert not planted(replaced).endswith(OUT_OF_SIGHT)
    assert planted(made("hides")) == ""
    for text in (render_markdown(hidden), render_html(hidden)):
        assert "were planted" in text


def test_utility_stands_beside_its_change_or_says_why_not() -> None:
    text = render_markdown(made("trims"))
    assert "| Accuracy | 0.800 (0.760 to 0.840) | 0.785 (0.740 to 0.820) | −0.015 (−0.040 to +0.010) |" in text
    without = made("trims", utility=(), utility_missing="no_labels")
    assert "--label" in render_markdown(without)
    assert "--label" in render_html(without)


def test_what_remains_is_said_of_every_mitigation_and_of_a_pass_what_no_pass_says() -> None:
    assert "recompute-bn: Weights stay." in remains(made("hides"))
    passed = made("replaces") if made("replaces").outcome is Outcome.PASS else made("trims")
    assert passed.outcome is Outcome.PASS
    assert any("anonymity" in text for text in remains(passed))


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_is_said() -> None:
    page = render_html(made("trims"))
    assert "<script" not in page
    assert "&lt;statistics&gt;" in page
    assert not re.search(r'(?:src|href)="http', page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("effect", EFFECT)
def test_the_document_can_be_read_again(effect: MitigationEffect) -> None:
    found = made(effect)
    assert MitigationDocument.model_validate_json(dumps(found)) == found
