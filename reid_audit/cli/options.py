"""The options of ``check`` as one typed record, and what they change in a policy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import click
from pydantic import BeforeValidator

from reid_audit.attack.methods import DEFAULT
from reid_audit.records import Budget, Policy, PreprocessPolicy, PreprocessSpec, Record

FailOn = Literal["fail", "inconclusive", "never"]
PROFILES: dict[str, Budget] = {
    "ci": Budget(steps=300, particles=(16,)),
    "standard": Budget(steps=500, particles=(16, 32)),
    "deep": Budget(steps=1000, particles=(16, 32, 64)),
}
READERS = ("auto", "shipped", "off")
"""Words of the policy's ``demographics``; anything else is a file."""


def _as_text(given: Any) -> Any:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


Named = Annotated[str, BeforeValidator(_as_text)]
"""A file, a bundle or a URI of ``origins``, as it was given."""
LONGEST_NAME = 120
"""Characters of what a report shows of a declared name."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class CheckOptions(Record):
    """Everything given to one ``check``; None or empty: not given."""

    checkpoint: Named
    policy: Path | None = None
    waivers: Path | None = None
    reference: str | None = None
    holdout: str | None = None
    prior: str | None = None
    prior_patients: Path | None = None
    demographics: str | None = None
    """One of ``READERS``, or a predictor file."""
    strata: tuple[str, ...] = ()
    label: str | None = None
    """A column, or columns of findings joined by commas."""
    budget: float | None = None
    """Seconds."""
    profile: Literal["ci", "standard", "deep"] | None = None
    method: str = DEFAULT
    base: Named | None = None
    encoder: Named | None = None
    repeats: int | None = None
    cache: Path | None = None
    side: int | None = None
    preprocess: Literal["infer", "unit", "half", "imagenet", "xrv"] | None = None
    head: Literal["softmax", "sigmoid", "regression"] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    arch: str | None = None
    arch_factory: str | None = None
    seed: int = 0
    out: Path = Path("reid-audit-report")
    formats: tuple[str, ...] = ()
    resume: bool = False
    indicators_only: bool = False
    dry_run: bool = False
    as_json: bool = False
    published_as: str | None = None
    fail_on: FailOn = "inconclusive"
    quiet: bool = False
    verbose: bool = False

    def given(self) -> tuple[tuple[str, str], ...]:
        """(flag without dashes, value as text) of whatever is not at its default and can change a figure.

        A flag without a value has "". What only says where to write, how to talk and how to exit is left out.
        """
        found: list[tuple[str, str]] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in NO_MATTER or value == field.default:
                continue
            each = value if isinstance(value, tuple) else (value,)
            found += [(name.replace("_", "-"), _text(name, one)) for one in each]
        return tuple(found)


NO_MATTER = frozenset(
    {
        "checkpoint",
        "cache",
        "out",
        "formats",
        "resume",
        "dry_run",
        "as_json",
        "published_as",
        "fail_on",
        "quiet",
        "verbose",
    }
)
"""Options that leave every figure as it is, and the checkpoint, which is no option."""


def _text(name: str, value: object) -> str:
    if value is True:
        return ""
    return f"{value:g}s" if name == "budget" else str(value)


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """``seconds`` for click."""
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def columns(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> str | None:
    """Columns as one text, as ``Source`` takes them: given at once or one by one."""
    return ",".join(value) or None


def seconds(text: str) -> float:
    """Seconds of ``90s``, ``10m`` or ``1h``. Raises ValueError for a number alone: 3 may mean seconds or minutes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h")
    if not found[2]:
        raise ValueError(f"{text!r} has no unit: write {text}s, {text}m or {text}h")
    return float(found[1]) * UNITS[found[2]]


def repository_path(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A name, or a path in a repository, for click: relative, with slashes, short enough for a report."""
    if value is None:
        return None
    parts = value.split("/")
    if len(value) > LONGEST_NAME or "" in parts or {".", ".."} & set(parts) or re.match(r"\w:|.*\\", value):
        raise click.BadParameter(f"{value!r} is not a name or a path in a repository, such as models/model.safetensors")
    return value


published_as = click.option(
    "--published-as",
    callback=repository_path,
    metavar="NAME",
    help="Name of the weights, or their path in a repository: report.sarif locates findings there. Overrides [report].",
)
"""Option of every command that writes reports; a public report knows no name of a file but this."""


def declared(policy: Policy, weights: str | None) -> Policy:
    """``policy`` with another name of the weights in its ``[report]`` table, where one was given."""
    if weights is None:
        return policy
    return policy.model_copy(update={"report": policy.report.model_copy(update={"weights": weights})})


def override(policy: Policy, options: CheckOptions) -> Policy:
    """The policy with the command line's budget, profile, repeats, head, demographics, preprocessing and name of the
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


def preprocessing(stated: PreprocessPolicy, values: str | None, side: int | None) -> PreprocessPolicy:
    """The policy's table with grey values by name (``infer``: asked of the first layers) and another side."""
    from reid_audit.preprocess import NAMED

    if values == "infer":
        stated = PreprocessPolicy(declared=stated.declared, values="inferred")
    elif values is not None:
        named = NAMED[values].model_dump(include={"mean", "std", "invert"})
        stated = PreprocessPolicy(declared=(stated.declared or PreprocessSpec()).model_copy(update=named))
    if side is None:
        return stated
    declared = (stated.declared or PreprocessSpec()).model_copy(update={"side": side})
    return PreprocessPolicy(declared=declared, values="inferred" if stated.declared is None else stated.values)
