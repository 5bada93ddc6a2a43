"""The command line of benchmarks that fill a file of cells and print a table of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Action = Callable[[argparse.Namespace], None]


def run_and_table(
    doc: str | None, out: str, run: Action, write: Action
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of ``run`` and ``table``, and that of ``run`` alone, for options of its own.

    Cells are kept in the file ``out`` unless ``--out`` names another; ``table --doc PAGE`` writes into the page.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out") / out)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.set_defaults(action=run)
    writing = commands.add_parser("table")
    writing.add_argument("--doc", type=Path)
    writing.set_defaults(action=write)
    return parser, running


def carry_out(parser: argparse.ArgumentParser) -> None:
    """Parse the command line and do what it asks for."""
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.action(options)
