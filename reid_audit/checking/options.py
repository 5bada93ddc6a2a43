"""The options of ``check`` as one typed record."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveFloat

from reid_audit.attack.methods import DEFAULT, MethodName
from reid_audit.records import Record
from reid_audit.report import FORMATS

FailOn = Literal["fail", "inconclusive", "never"]
IN_MEMORY = "(in memory)"
"""What the command that reproduces a report shows in place of a temporary file."""
LONGEST_NAME = 120
"""Characters of what a report shows of a declared name."""
SIDES, REPEATS = (8, 1024), (1, 20)
"""The least and the most that can be asked for: pixels of the network input, and attack seeds."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _as_text(given: Any) -> Any:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


Named = Annotated[str, BeforeValidator(_as_text)]
"""A file, a bundle or a URI of ``origins``, as it was given."""


def seconds(text: str) -> float:
    """Seconds of ``90s``, ``10m`` or ``1h``. Raises ValueError for a number alone: 3 may mean seconds or minutes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h")
    if not found[2]:
        raise ValueError(f"{text!r} has no unit: write {text}s, {text}m or {text}h")
    return float(found[1]) * UNITS[found[2]]


def repository_path(text: str) -> str:
    """A name, or a path in a repository: relative, with slashes, short enough for a report. Raises ValueError for
    anything else."""
    parts = text.split("/")
    if len(text) > LONGEST_NAME or "" in parts or {".", ".."} & set(parts) or re.match(r"\w:|.*\\", text):
        raise ValueError(f"{text!r} is not a name or a path in a repository, such as models/model.safetensors")
    return text


def known_formats(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of ``FORMATS``. Raises ValueError for any other."""
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"no format is called {name}: {', '.join(FORMATS)}")
    return names


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
    budget: PositiveFloat | None = None
    """Seconds."""
    profile: Literal["ci", "standard", "deep"] | None = None
    method: MethodName = DEFAULT
    base: Named | None = None
    encoder: Named | None = None
    repeats: Annotated[int, Field(ge=REPEATS[0], le=REPEATS[1])] | None = None
    cache: Path | None = None
    side: Annotated[int, Field(ge=SIDES[0], le=SIDES[1])] | None = None
    preprocess: Literal["infer", "unit", "half", "imagenet", "xrv"] | None = None
    head: Literal["softmax", "sigmoid", "regression"] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    arch: str | None = None
    arch_factory: str | None = None
    seed: NonNegativeInt = 0
    out: Path = Path("reid-audit-report")
    formats: Annotated[tuple[str, ...], AfterValidator(known_formats)] = ()
    resume: bool = False
    indicators_only: bool = False
    dry_run: bool = False
    as_json: bool = False
    published_as: Annotated[str, AfterValidator(repository_path)] | None = None
    fail_on: FailOn = "inconclusive"
    quiet: bool = False
    verbose: bool = False

    def temporary(self, place: str | Path) -> bool:
        """Whether what lies at ``place`` is removed with the end of the check: nothing that a command is given."""
        return False

    def given(self) -> tuple[tuple[str, str], ...]:
        """(flag without dashes, value as text) of whatever is not at its default and can change a figure.

        A flag without a value has "". What only says where to write, how to talk and how to exit is left out, and
        what is temporary has no path.
        """
        found: list[tuple[str, str]] = []
        for name, field in CheckOptions.model_fields.items():
            value = getattr(self, name)
            if name in NO_MATTER or value == field.default:
                continue
            each = value if isinstance(value, tuple) else (value,)
            texts = (_text(name, one) for one in each)
            found += [(name.replace("_", "-"), IN_MEMORY if self.temporary(text) else text) for text in texts]
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
