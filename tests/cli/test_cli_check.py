"""Flags of ``check`` that override the policy."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from reid_audit.audit.setup import stated_head
from reid_audit.checking.options import NO_MATTER, CheckOptions
from reid_audit.checking.rules import PROFILES, override, preprocessing
from reid_audit.cli.check import check
from reid_audit.cli.options import duration
from reid_audit.errors import ArchitectureError
from reid_audit.preprocess import HALF, NAMED
from reid_audit.records import ArchMatch, Policy, PreprocessPolicy, PreprocessSpec
from reid_audit.report.command import PUBLIC

STATED = PreprocessPolicy(declared=PreprocessSpec(side=48, crop="center", mean=(0.3,), std=(0.2,), invert=True))


def options(**given: object) -> CheckOptions:
    return CheckOptions.model_validate({"checkpoint": Path("model.pt"), **given})


def test_the_record_holds_exactly_the_options_of_the_command_with_their_defaults() -> None:
    with check.make_context("check", ["model.pt"]) as context:
        assert set(context.params) == set(CheckOptions.model_fields)
        assert CheckOptions.model_validate(context.params) == options()


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="sied"):
        options(sied=64)


def test_what_was_given_is_said_in_words() -> None:
    found = options(
        seed=3, budget=90.0, strata=("view", "site"), deterministic=True, out=Path("x"), quiet=True, method="moments"
    )
    assert found.given() == (
        ("strata", "view"),
        ("strata", "site"),
        ("budget", "90s"),
        ("deterministic", ""),
        ("seed", "3"),
    )
    assert set(CheckOptions.model_fields) > NO_MATTER


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ((), None),
        (("--label", "sex"), "sex"),
        (("--label", "Edema,Mass"), "Edema,Mass"),
        (("--label", "Edema", "--label", "Lung Lesion"), "Edema,Lung Lesion"),
    ],
)
def test_labels_are_one_column_or_several(given: tuple[str, ...], columns: str | None) -> None:
    with check.make_context("check", ["model.pt", *given]) as context:
        assert CheckOptions.model_validate(context.params).label == columns


def test_every_option_that_matters_is_in_the_reports_command_and_no_other() -> None:
    flags = {name.replace("_", "-") for name in set(CheckOptions.model_fields) - NO_MATTER}
    assert flags == {*PUBLIC, "arch"} - {"origin"}, "the origin stands in place of the model, not of an option"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("1.5m", 90.0), (" 2h ", 7200.0)])
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert duration(click.Context(check), check.params[0], text) == seconds


@pytest.mark.parametrize("text", ["3", "600", "0m", "-1m", "3 minutes", "soon", ""])
def test_durations_without_a_unit_are_usage_errors(text: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        duration(click.Context(check), check.params[0], text)
    assert ("has no unit" in refused.value.message) is text.isdigit()


def test_a_named_convention_replaces_the_grey_values_and_leaves_the_geometry() -> None:
    found = preprocessing(STATED, "half", None)
    assert found.values == "declared"
    assert found.declared == PreprocessSpec(side=48, crop="center", mean=HALF.mean, std=HALF.std, invert=False)


def test_infer_asks_the_layers_whatever_the_policy_says() -> None:
    assert preprocessing(STATED, "infer", None) == STATED.model_copy(update={"values": "inferred"})
    assert preprocessing(PreprocessPolicy(), "infer", None).declared is None


def test_the_side_alone_leaves_the_grey_values_to_inference() -> None:
    assert preprocessing(PreprocessPolicy(), None, 32).values == "inferred"
    assert preprocessing(STATED, None, 32).values == "declared"
    both = preprocessing(PreprocessPolicy(), "unit", 32)
    assert (both.values, both.declared) == ("declared", PreprocessSpec(side=32))


def test_the_flag_offers_every_convention_that_is_tried() -> None:
    (option,) = (parameter for parameter in check.params if parameter.name == "preprocess")
    assert set(option.type.choices) == {"infer", *NAMED}  # type: ignore[attr-defined]


def test_without_flags_the_policy_stays_as_it_is() -> None:
    policy = Policy(preprocess=STATED, head="sigmoid")
    assert override(policy, options()) == policy
    assert override(policy, options(head="regression")).head == "regression"
    assert override(policy, options(demographics="off")).demographics == "off"
    assert override(policy, options(demographics="file.safetensors")).demographics == "auto"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_sets_steps_and_particles_and_a_budget_the_seconds(profile: str) -> None:
    found = override(Policy(), options(profile=profile, budget=60.0)).budget
    assert found == PROFILES[profile].model_copy(update={"seconds": 60.0})


def test_a_head_is_stated_where_there_is_one() -> None:
    match = ArchMatch(name="n", library="l", family="f", coverage=1.0, classes=3)
    assert stated_head(match, "sigmoid").head == "sigmoid"
    with pytest.raises(ArchitectureError) as refused:
        stated_head(match.model_copy(update={"head": "features"}), "sigmoid")
    assert "features" in refused.value.closest
