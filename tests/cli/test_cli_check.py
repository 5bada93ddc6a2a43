"""Flags of ``check`` that override the policy."""

from __future__ import annotations

from typing import Any

import pytest

from reid_audit.audit.setup import stated_head
from reid_audit.cli.check import check, override, preprocessing
from reid_audit.errors import ArchitectureError
from reid_audit.preprocess import HALF, NAMED
from reid_audit.records import ArchMatch, Policy, PreprocessPolicy, PreprocessSpec

STATED = PreprocessPolicy(declared=PreprocessSpec(side=48, crop="center", mean=(0.3,), std=(0.2,), invert=True))
NOTHING: dict[str, Any] = {
    "profile": None, "budget": None, "repeats": None, "side": None, "preprocess": None, "head": None,
    "demographics": None,
}  # fmt: skip


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
    assert override(policy, NOTHING) == policy
    assert override(policy, NOTHING | {"head": "regression"}).head == "regression"
    assert override(policy, NOTHING | {"demographics": "off"}).demographics == "off"
    assert override(policy, NOTHING | {"demographics": "file.safetensors"}).demographics == "auto"


def test_a_head_is_stated_where_there_is_one() -> None:
    match = ArchMatch(name="n", library="l", family="f", coverage=1.0, classes=3)
    assert stated_head(match, "sigmoid").head == "sigmoid"
    with pytest.raises(ArchitectureError) as refused:
        stated_head(match.model_copy(update={"head": "features"}), "sigmoid")
    assert "features" in refused.value.closest
