"""The policy that a check is held to, and what its options change in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reid_audit.checking.options import CheckOptions
from reid_audit.policy import find_waivers, load_policy, policy_sha256
from reid_audit.records import Budget, Policy, PreprocessPolicy, PreprocessSpec

PROFILES: dict[str, Budget] = {
    "ci": Budget(steps=300, particles=(16,)),
    "standard": Budget(steps=500, particles=(16, 32)),
    "deep": Budget(steps=1000, particles=(16, 32, 64)),
}
READERS = ("auto", "shipped", "off")
"""Words of the policy's ``demographics``; anything else is a file."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy as it is written, before options override it."""

    policy: Policy
    digest: str
    """Its SHA-256."""

    def ceiling(self, options: CheckOptions) -> float | None:
        """Seconds of the whole check; None: steps decide."""
        return self.policy.budget.seconds if options.budget is None else options.budget


def rules_of(options: CheckOptions, policy: Policy | None = None) -> tuple[CheckOptions, Rules]:
    """``options`` with the policy and waiver files that hold, and the policy itself. Raises PolicyError.

    policy: one that is in no file; None: what the options name, or the nearest one.
    """
    if policy is None:
        policy, source, digest = load_policy(options.policy, Path.cwd())
    else:
        source, digest = None, policy_sha256(policy)
    found = {"policy": source, "waivers": options.waivers or find_waivers(Path.cwd())}
    return options.model_copy(update=found), Rules(policy, digest)


def override(policy: Policy, options: CheckOptions) -> Policy:
    """The policy with the options' budget, profile, repeats, head, demographics, preprocessing and name of the
    weights."""
    budget = policy.budget
    if options.profile is not None:
        steps, particles = PROFILES[options.profile].steps, PROFILES[options.profile].particles
        budget = budget.model_copy(update={"steps": steps, "particles": particles})
    if options.budget is not None:
        budget = budget.model_copy(update={"seconds": options.budget})
    changes: dict[str, object] = {
        "budget": budget,
        "preprocess": preprocessing(policy.preprocess, options.preprocess, options.side),
    }
    if options.repeats is not None:
        changes |= {"repeats": options.repeats, "agreement": None}
    if options.head is not None:
        changes["head"] = options.head
    if options.demographics in READERS:
        changes["demographics"] = options.demographics
    return declared(policy.model_copy(update=changes), options.published_as)


def declared(policy: Policy, weights: str | None) -> Policy:
    """``policy`` with another name of the weights in its ``[report]`` table, where one was given."""
    if weights is None:
        return policy
    return policy.model_copy(update={"report": policy.report.model_copy(update={"weights": weights})})


def preprocessing(stated: PreprocessPolicy, values: str | None, side: int | None) -> PreprocessPolicy:
    """The policy's table with grey values by name (``infer``: asked of the first layers) and another side."""
    from reid_audit.preprocess import NAMED

    if values == "infer":
        stated = PreprocessPolicy(declared=stated.declared, values="inferred")
    elif values is not None:
        named = NAMED[values].model_dump(include={"mean", "std", "invert", "per_film"})
        stated = PreprocessPolicy(declared=(stated.declared or PreprocessSpec()).model_copy(update=named))
    if side is None:
        return stated
    declared = (stated.declared or PreprocessSpec()).model_copy(update={"side": side})
    return PreprocessPolicy(declared=declared, values="inferred" if stated.declared is None else stated.values)
