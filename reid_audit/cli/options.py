"""Options as click reads them, where several commands have the same."""

from __future__ import annotations

import click

from reid_audit.checking.options import repository_path, seconds


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """``seconds`` for click."""
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def columns(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> str | None:
    """Columns as one text, as ``Source`` takes them: given at once or one by one."""
    return ",".join(value) or None


def published_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """``repository_path`` for click."""
    try:
        return None if value is None else repository_path(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


published_as = click.option(
    "--published-as",
    callback=published_name,
    metavar="NAME",
    help="Name of the weights, or their path in a repository: report.sarif locates findings there. Overrides [report].",
)
"""Option of every command that writes reports; a public report knows no name of a file but this."""
