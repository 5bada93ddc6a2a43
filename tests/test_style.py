"""Functions stay small enough to be called: few parameters, or a reason beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST = 7
"""Parameters of a function, ``self`` and ``cls`` not counted."""
REASON = re.compile(r"[^.]*\bparameters\b[^.]*\bbecause\b[^.]*")
"""A sentence of a docstring that says why a function has more."""
MODULES = sorted(path for folder in ("reid_audit", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[str]:
    given = function.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    gathered = [each.arg for each in (given.vararg, given.kwarg) if each is not None]
    return [name for name in (*named, *gathered) if name not in ("self", "cls")]


def unexplained(source: str) -> list[str]:
    """Functions of ``source`` with too many parameters and no reason."""
    return [
        f"{function.name}, line {function.lineno}: {', '.join(parameters(function))}"
        for function in functions(ast.parse(source))
        if len(parameters(function)) > MOST and not REASON.search(ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_many_parameters_have_a_reason(path: Path) -> None:
    assert unexplained(path.read_text(encoding="utf-8")) == []


def test_the_rule_finds_what_it_forbids() -> None:
    many = "def f(self, a, b, c, d, e, f, g{more}):\n    {doc}\n"
    assert unexplained(many.format(more="", doc="pass")) == []
    assert unexplained(many.format(more=", *, h", doc="pass")) == ["f, line 1: a, b, c, d, e, f, g, h"]
    assert len(unexplained(many.format(more=", **h", doc='"""What f does, and its parameters."""'))) == 1
    assert unexplained(many.format(more=", h", doc='"""It has eight parameters because G calls it so."""')) == []
