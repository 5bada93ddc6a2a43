"""Functions are small, take few parameters, are explained, and are used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST = 7
"""Parameters of a function, ``self`` and ``cls`` not counted."""
LONGEST = 60
"""Lines of a function: what one screen shows."""
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


def long(source: str) -> list[str]:
    """Functions of ``source`` that no screen shows whole."""
    return [f.name for f in functions(ast.parse(source)) if (f.end_lineno or f.lineno) - f.lineno >= LONGEST]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    assert long(path.read_text(encoding="utf-8")) == []


def unexplained_names(source: str) -> list[str]:
    """Public classes, functions and methods of ``source`` whose docstring is missing or ends in the middle."""
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    given = [*tree.body, *(node for each in classes for node in each.body)]
    named = (node for node in given if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"))
    found = [("module", ast.get_docstring(tree)), *((node.name, ast.get_docstring(node)) for node in named)]
    return [name for name, text in found if not re.search(r"[.!?:)`|]$", (text or "").strip())]


PRODUCT = [path for path in MODULES if path.is_relative_to(ROOT / "reid_audit")]


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_others_call_is_explained(path: Path) -> None:
    assert unexplained_names(path.read_text(encoding="utf-8")) == []


def defined(tree: ast.Module) -> Iterator[str]:
    """What a module defines for itself and others; commands, which their decorator registers, left out."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not any(
            "command" in ast.unparse(d) for d in node.decorator_list
        ):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for each in targets if isinstance(each, ast.Name))


def used(tree: ast.Module) -> Iterator[str]:
    """What a module reads, and what the lines of its registries name as ``module:function``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^\w+:(\w+)$", node.value)


FOR_OTHERS = {
    "lira", "rmia", "loss_difference",  # families that docs/membership.md holds the verdict's own score against
    "SPEC",  # of the demo's films, for tests
    "TARGETS",  # of the demo, for examples/make_targets.py
    "model_config", "__all__", "__getattr__", "__version__",
}  # fmt: skip
"""What the product defines and does not use itself."""


def test_the_product_uses_what_it_defines() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PRODUCT}
    read = {name for tree in trees.values() for name in used(tree)} | FOR_OTHERS
    read |= set(defined(trees[ROOT / "reid_audit" / "api.py"]))
    read |= {word for page in (ROOT / "templates").glob("*.j2") for word in re.findall(r"\w+", page.read_text("utf-8"))}
    idle = [(path.name, name) for path, tree in trees.items() for name in defined(tree) if name not in read]
    assert idle == []


TABLES = ("records/metrics.py", "judge/remedies.py")
"""Where every reason has its sentence and its remedy: to stand there is no use."""


def test_every_member_of_an_enumeration_is_used() -> None:
    """Metrics are left out: tests/score/test_score_places.py says who measures each."""
    trees = {
        str(path.relative_to(ROOT / "reid_audit")): ast.parse(path.read_text(encoding="utf-8")) for path in PRODUCT
    }
    read = {n.attr for p, t in trees.items() if p not in TABLES for n in ast.walk(t) if isinstance(n, ast.Attribute)}
    members = [
        (each.name, item.targets[0].id)
        for tree in trees.values()
        for each in tree.body
        if isinstance(each, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in each.bases)
        for item in each.body
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name)
    ]
    assert len(members) > 40
    assert [pair for pair in members if pair[0] != "Metric" and pair[1] not in read] == []


def test_the_rule_finds_what_it_forbids() -> None:
    many = "def f(self, a, b, c, d, e, f, g{more}):\n    {doc}\n"
    assert unexplained(many.format(more="", doc="pass")) == []
    assert unexplained(many.format(more=", *, h", doc="pass")) == ["f, line 1: a, b, c, d, e, f, g, h"]
    assert len(unexplained(many.format(more=", **h", doc='"""What f does, and its parameters."""'))) == 1
    assert unexplained(many.format(more=", h", doc='"""It has eight parameters because G calls it so."""')) == []
    assert long("def f():\n" + "    pass\n" * 59) == []
    assert long("def f():\n" + "    pass\n" * 60) == ["f"]
    assert unexplained_names('"""A module."""\n\ndef f(): ...\n\nclass G:\n    """It ends in the"""\n') == ["f", "G"]
    assert set(defined(ast.parse("A = 1\ndef f(): ...\n@click.command()\ndef g(): ...\n"))) == {"A", "f"}
    assert set(used(ast.parse("B = A.c\nregister('pixel:pixel', 'a word')\n"))) == {"A", "c", "register", "pixel"}
