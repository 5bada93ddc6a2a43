"""The command that repeats an audit: every option that mattered, with files and columns by what they are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable

from reid_audit.report import words
from reid_audit.report.wire import PublicOption, PublicReport

READERS = ("auto", "shipped", "off")
ORIGIN, MODEL = "origin", "MODEL"
"""What ``AuditRequest.options`` keeps of a model that was fetched; and the word for a model that is a file."""
Rule = Callable[[str], str]


def _matching(pattern: str, otherwise: str) -> Rule:
    return lambda value: value if re.fullmatch(pattern, value) else otherwise


def _standing_for(word: str) -> Rule:
    return lambda _: word


def _pinned(value: str) -> str:
    """A model of a hub by its commit, which names nobody; its own name may."""
    found = re.fullmatch(r"hf://[^@]+@([0-9a-f]{40})(?:/.*)?", value)
    return MODEL if found is None else f"hf://OWNER/MODEL@{found[1]}"


_COLUMN = _matching(r"[A-Za-z_. -]{1,40}", "COLUMN")  # without digits, so that no identifier fits
_NUMBER, _WORD = _matching(r"0|[1-9]\d{0,18}", "NUMBER"), _matching(r"[a-z-]{0,20}", "WORD")
PUBLIC: dict[str, Rule] = {
    "policy": _standing_for("POLICY"),
    "waivers": _standing_for("WAIVERS"),
    "reference": _standing_for("TRAINING"),
    "holdout": _standing_for("HOLDOUT"),
    "prior": _standing_for("PRIOR"),
    "prior-patients": _standing_for("PATIENTS"),
    "base": _standing_for("BASE"),
    "encoder": _standing_for("ENCODER"),
    "arch-factory": _standing_for("FACTORY"),
    "demographics": _matching("|".join(READERS), "PREDICTOR"),
    "strata": _COLUMN,
    "label": _COLUMN,
    "budget": _matching(r"\d[\d.e+]{0,20}s", "TIME"),
    ORIGIN: _pinned,
    **dict.fromkeys(("repeats", "side", "seed"), _NUMBER),
    **dict.fromkeys(("profile", "method", "preprocess", "head", "device", "deterministic", "indicators-only"), _WORD),
}
"""Flag -> what of its value is published: choices and numbers as given, a word in capitals for what may name somebody.
``arch`` is published where it is the name that the report gives to the network."""


def published(options: Iterable[tuple[str, str]], architecture: str) -> tuple[PublicOption, ...]:
    """Options as a report may show them. architecture: the name the report gives to the network."""
    rules: dict[str, Rule] = {
        **PUBLIC,
        "arch": lambda value: value if value.rpartition("/")[2] == architecture else "ARCH",
    }
    return tuple(PublicOption(flag=flag, value=rules[flag](value)) for flag, value in options if flag in rules)


def command(report: PublicReport) -> str:
    """The command line that would repeat this audit; words in capitals stand for files and columns."""
    given = [(option.flag, option.value) for option in report.options] or _derived(report)
    model = next((value for flag, value in given if flag == ORIGIN), MODEL)
    given = [(flag, value) for flag, value in given if flag != ORIGIN]
    stated = {flag for flag, _ in given}
    given += [
        pair for pair in (("method", _WORD(report.method)), ("seed", str(report.seeds.master))) if pair[0] not in stated
    ]
    flags = (f"--{flag} {shlex.quote(value)}" if value else f"--{flag}" for flag, value in given)
    return " ".join((f"reid-audit check {model}", *flags))


def _derived(report: PublicReport) -> list[tuple[str, str]]:
    """For documents without options: what can be told from the rest."""
    sides = (("reference", "TRAINING"), ("holdout", "HOLDOUT"))
    base = [("base", "BASE")] if any(name == "base" for name, _ in report.digests) else []
    films = [(role, word) for role, word in sides if any(c.role == role for c in report.cohorts)]
    return [("policy", "POLICY"), *films, ("prior", "PRIOR"), *base]


def repeatability(report: PublicReport) -> str:
    """What is the same when the command is run again, and what the words in it mean."""
    named = "Words in capitals are files, films and columns; digests of the files are above."
    if report.budget.seconds is None:
        return (
            f"{named} With this seed and a budget in steps, every figure but the times is the same on the same machine."
        )
    ceiling = words.duration(report.budget.seconds)
    return (
        f"{named} The budget is a time ({ceiling}): how many steps fit into it depends on the machine, and the figures "
        f"with them. This run had room for {report.budget.spent_steps:,} steps in all."
    )
