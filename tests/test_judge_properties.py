"""Any policy, any measurements: the rows and the outcome agree, and no breach is hidden."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reid_audit.judge import Case, judge, judge_seeds
from reid_audit.records import (
    CONTROLS,
    METRICS,
    Control,
    ControlDecision,
    Controls,
    Corroboration,
    Direction,
    Family,
    Gate,
    GateDecision,
    Measured,
    Measurement,
    Metric,
    Outcome,
    Policy,
    Reason,
    References,
    Unmeasured,
    Verdict,
    Waiver,
    family,
    find,
)

DIGEST, TODAY = "a" * 64, date(2026, 3, 1)
NUMBERS = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0])
METRIC = st.sampled_from(list(Metric))
COMPARING = family(Family.LINKAGE, Family.LIKELY, Family.MEMBERSHIP)
"""Metrics that say nothing where the cohorts differ in kind."""
SWITCHES = {control.value: st.booleans() for control in Control}


@st.composite
def measurement(draw: st.DrawFn, metric: Metric) -> Measurement:
    if draw(st.integers(0, 4)) == 0:
        return Unmeasured(metric=metric, reason=draw(st.sampled_from(list(Reason))))
    value = draw(NUMBERS)
    spread = draw(st.none() | NUMBERS)
    return Measured(
        metric=metric,
        value=value,
        low=None if spread is None else value - spread,
        high=None if spread is None else value + spread,
        control=draw(st.none() | NUMBERS),
        n=draw(st.integers(1, 400)),
        indicator=draw(st.booleans()),
    )


@st.composite
def gate(draw: st.DrawFn, metric: Metric) -> Gate:
    limits = {key: draw(st.none() | NUMBERS) for key in ("fail", "clear")}
    partners = draw(st.lists(METRIC, max_size=2, unique=True))
    return Gate(
        metric=metric,
        basis=draw(st.sampled_from(["value", "excess"])),
        corroborated_by=tuple(Corroboration(metric=p, above=draw(NUMBERS)) for p in partners),
        **limits,
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    gates = [draw(gate(metric)) for metric in draw(st.lists(METRIC, min_size=1, max_size=6, unique=True))]
    if all(each.fail is None for each in gates):
        gates[0] = gates[0].model_copy(update={"fail": 0.1})
    controls = Controls(**draw(st.fixed_dictionaries(SWITCHES) | st.just({})))
    references = draw(
        st.builds(References, when=st.sampled_from(["when-possible", "required"]), stands_in=st.booleans())
    )
    if draw(st.booleans()):
        return Policy(controls=controls, references=references)
    given: dict[str, Any] = {"gates": tuple(gates), "controls": controls, "references": references}
    return Policy(**given, evidence=draw(st.sampled_from(["calibrated", "checkpoint"])))


def harmless(metric: Metric) -> Measured:
    """A number that breaches no default gate and meets its control."""
    met = {control.metric: 0.001 if control.comparison == "at_most" else 0.9 for control in CONTROLS.values()}
    lower = METRICS[metric].direction is Direction.LOWER
    return Measured(metric=metric, value=met.get(metric, 0.5 if lower else 0.0), control=0.0, n=388)


@st.composite
def measured(draw: st.DrawFn) -> tuple[Measurement, ...]:
    """Anything at all; or a clean audit with a few numbers changed or missing, so that some are judged a PASS."""
    if draw(st.booleans()):
        return tuple(draw(measurement(metric)) for metric in draw(st.sets(METRIC).map(sorted)))
    changed = draw(st.sets(METRIC, max_size=2))
    return tuple(draw(measurement(metric)) if metric in changed else harmless(metric) for metric in Metric)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return Case(
        measurements=draw(measured()),
        checkpoint_sha256=DIGEST,
        prior_overlap=draw(st.sampled_from(["disjoint", "disjoint", "overlap", "unknown"])),
        budget_complete=draw(st.sampled_from([True, True, False])),
        has_reference=draw(st.sampled_from([True, True, False])),
        has_holdout=draw(st.sampled_from([True, True, False])),
        network_doubts=draw(st.sampled_from([(), (), ("its kind of normalisation",)])),
        references=draw(st.sampled_from([0, 2])),
        stores_statistics=draw(st.booleans()),
    )


WAIVERS = st.lists(
    st.builds(
        Waiver,
        gate=METRIC,
        checkpoint_sha256=st.sampled_from([DIGEST, "b" * 64]),
        reason=st.just("reason enough for a test"),
        approved_by=st.just("DPO"),
        expires=st.sampled_from([date(2026, 2, 1), TODAY, date(2026, 4, 1)]),
    ),
    max_size=2,
)


def beyond(gate: Gate, found: Measurement) -> bool:
    """Whether a gate's own number breaches it, written down a second time and as plainly as possible."""
    if not isinstance(found, Measured) or found.indicator or gate.fail is None:
        return False
    lower = METRICS[gate.metric].direction is Direction.LOWER
    bound = found.high if lower else found.low
    number = found.value if bound is None else bound
    if gate.basis == "excess":
        if found.control is None:
            return False
        number -= found.control
    return number <= gate.fail if lower else number > gate.fail


def stood_in(case: Case, policy: Policy) -> bool:
    """Whether membership with references may take the place of ``attack_power``, written down a second time."""
    gap = find(case.measurements, Metric.GENERALISATION_GAP)
    generalises = isinstance(gap, Measured) and gap.high is not None and gap.high <= 0.15
    return policy.references.stands_in and case.references > 0 and not case.stores_statistics and generalises


def check(verdict: Verdict, case: Case, policy: Policy) -> None:
    rows = {row.metric: row for row in verdict.gates}
    assert list(rows) == [each.metric for each in policy.gates]
    assert [row.control for row in verdict.controls] == list(CONTROLS)
    breached = {metric for metric, row in rows.items() if row.status == "breach"}
    assert (verdict.outcome is Outcome.FAIL) == bool(breached)
    assert {b.metric for b in verdict.breaches} == breached
    assert {b.metric for b in verdict.waived} == {metric for metric, row in rows.items() if row.status == "waived"}
    rows_of: tuple[GateDecision | ControlDecision, ...] = (*verdict.gates, *verdict.controls)
    for row in rows_of:
        assert bool(row.remedy) == row.lacking
        assert not row.lacking or any(gap.text == row.text for gap in verdict.gaps)
    for gate in verdict.gates:
        assert not gate.uncorroborated or gate.status == "open"
        assert {"breach": True, "open": True, "clear": False}.get(gate.status, gate.beyond) == gate.beyond
    if case.has_reference and case.has_holdout and (verdict.outcome is Outcome.PASS or breached & COMPARING):
        kinds = find(case.measurements, Metric.EXCHANGEABILITY_P)
        assert isinstance(kinds, Measured)
        assert kinds.value > policy.controls.exchangeability_p
    if verdict.outcome is Outcome.PASS:
        assert not case.network_doubts
        assert case.references or verdict.screening or policy.references.when != "required"
        assert verdict.gaps == ()
        assert not any(row.lacking for row in rows_of)
        assert not {row.status for row in verdict.gates} & {"breach", "open"}
    else:
        assert verdict.breaches or verdict.gaps


@settings(max_examples=400, deadline=None)
@given(case=cases(), policy=policies(), waivers=WAIVERS)
def test_rows_and_outcome_agree_and_no_breach_is_hidden(case: Case, policy: Policy, waivers: list[Waiver]) -> None:
    verdict = judge(case, policy, waivers=waivers, today=TODAY)
    check(verdict, case, policy)
    doubted = {d.metric for d in verdict.demoted}
    valid = {w.gate for w in waivers if w.checkpoint_sha256 == DIGEST and w.expires >= TODAY}
    for each, row in zip(policy.gates, verdict.gates, strict=True):
        found = find(case.measurements, each.metric)
        if beyond(each, found) and each.metric not in doubted:
            if not each.corroborated_by:
                assert row.status == ("waived" if each.metric in valid else "breach")
            else:
                assert row.status in ("breach", "waived") or row.lacking
        if row.uncorroborated:
            assert each.corroborated_by
            assert beyond(each, found)
        if row.status == "clear" and isinstance(found, Measured):
            assert not found.indicator
            assert each.metric not in doubted
        if each.basis == "excess" and isinstance(found, Measured) and found.control is None:
            assert row.status in ("unmeasured", "off")
            assert verdict.outcome is not Outcome.PASS or row.status == "off"
    if verdict.outcome is Outcome.PASS and not verdict.screening:
        assert case.has_reference
        assert case.has_holdout
        for metric in (m for m, entry in METRICS.items() if entry.always_needed):
            core = find(case.measurements, metric)
            assert isinstance(core, Measured)
            assert not core.indicator
            assert metric not in doubted
        for each, decided in zip(policy.gates, verdict.gates, strict=True):
            shown = {"indicator"} if METRICS[each.metric].none_is_clear else set()
            assert each.clear is None or decided.status in {"clear", "waived"} | shown
        reached = {row.control: row.status for row in verdict.controls}
        for name, status in reached.items():
            if name is Control.ATTACK_POWER and status == "not_required" and policy.controls.asks(name):
                assert stood_in(case, policy)
                assert reached[Control.MEMBERSHIP_CONTROL] == "met"
            else:
                assert status == ("met" if policy.controls.asks(name) else "not_required")


@settings(max_examples=100, deadline=None)
@given(case=cases(), others=st.lists(cases(), min_size=1, max_size=3), policy=policies())
def test_seeds_that_disagree_hide_no_breach(case: Case, others: list[Case], policy: Policy) -> None:
    seeds = [case.measurements, *(other.measurements for other in others)]
    verdict = judge_seeds(case, seeds, 5, policy, today=TODAY)
    each = [judge(case.of_seed(m), policy, today=TODAY) for m in seeds]
    assert verdict.outcome is (each[0].outcome if len({v.outcome for v in each}) == 1 else Outcome.INCONCLUSIVE)
    said = " ".join((*verdict.warnings, *(gap.text for gap in verdict.gaps)))
    for found in each:
        for breach in found.breaches:
            assert breach.metric.value in said or breach in verdict.breaches
    if verdict.outcome is Outcome.INCONCLUSIVE:
        assert not any(row.status == "breach" for row in verdict.gates)
