"""Reports: one public document in six formats, and the restricted evidence beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from reid_audit.atomic import write_atomically
from reid_audit.report.html import render_html
from reid_audit.report.json import dumps, loads
from reid_audit.report.junit import render_junit
from reid_audit.report.markdown import render_markdown
from reid_audit.report.protection import render_protection
from reid_audit.report.publication import publish, with_name
from reid_audit.report.sarif import render_sarif
from reid_audit.report.wire import PublicReport


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """One way to write the public document."""

    name: str
    """As ``--format`` knows it."""
    file: str
    render: Callable[[PublicReport], str]


_ENTRIES = (
    ReportFormat("html", "report.html", render_html),
    ReportFormat("json", "report.json", dumps),
    ReportFormat("markdown", "report.md", render_markdown),
    ReportFormat("sarif", "report.sarif", render_sarif),
    ReportFormat("junit", "report.junit.xml", render_junit),
    ReportFormat("data-protection", "data-protection.html", render_protection),
)
"""The registry of formats: one line each."""
Format = str
FORMATS: tuple[Format, ...] = tuple(entry.name for entry in _ENTRIES)
FILES: dict[Format, str] = {entry.name: entry.file for entry in _ENTRIES}
_RENDERERS: dict[Format, Callable[[PublicReport], str]] = {entry.name: entry.render for entry in _ENTRIES}


def render(report: PublicReport, format: Format) -> str:
    """``report`` as text; TypeError for anything but a PublicReport, so that nothing unpublished is rendered."""
    if not isinstance(report, PublicReport):
        raise TypeError(f"renderers accept PublicReport only, not {type(report).__name__}")
    return _RENDERERS[format](report)


def write_reports(report: PublicReport, out: Path, formats: Iterable[Format] = FORMATS) -> dict[str, Path]:
    """Write each format into ``out`` and return where; a file is there whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for format in formats:
        written[format] = write_atomically(out / FILES[format], render(report, format))
    return written


__all__ = [
    "FILES",
    "FORMATS",
    "Format",
    "PublicReport",
    "dumps",
    "loads",
    "publish",
    "render",
    "with_name",
    "write_reports",
]
