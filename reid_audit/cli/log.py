"""``reid-audit log``."""

from __future__ import annotations

import re
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_audit.cli.computing import Computing
from reid_audit.cli.results import load_report
from reid_audit.errors import PolicyError, RunStateError

if TYPE_CHECKING:
    from reid_audit.report import PublicReport

FOLDER = "reid-audit"
"""Where the reports lie among the artifacts of a run, and what names of metrics and tags begin with."""


@click.command(cls=Computing)
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("run")
def log(result: Path, run: str) -> int:
    """Put the finished run in RESULT into the MLflow run RUN (an id, or runs:/ID): the public reports as artifacts,
    every figure as a metric, verdict and digests as tags. What shows patients stays where it is.
    """
    from reid_audit.report import write_reports

    found = re.fullmatch(r"(?:runs:/|mlflow://)?([\w-]+)/?", run)
    if found is None:
        raise PolicyError(f"{run} is no run", closest="an id, or runs:/ID", remedy="give the id of an MLflow run")
    report = load_report(result)
    try:
        client: Any = import_module("mlflow").MlflowClient
    except ImportError as error:
        raise PolicyError(
            "the command log needs mlflow", closest=str(error), remedy="pip install 'reid-audit[mlflow]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="reid-audit-log-") as place:
        write_reports(report, Path(place))
        try:
            send(client(), found[1], report, Path(place))
        except Exception as error:  # MLflow's own, those of its stores and of HTTP share no base
            raise RunStateError(
                f"the run {found[1]} cannot be written to",
                closest=(str(error).splitlines() or [type(error).__name__])[0][:200],
                remedy="check the run's id and MLFLOW_TRACKING_URI; running this again writes everything again",
            ) from error
    click.echo(f"logged to the run {found[1]}")
    return 0


def send(client: Any, run: str, report: PublicReport, reports: Path) -> None:
    """Figures, tags, and the files below ``reports``. Whatever an MLflow client raises goes through."""
    step = {"timestamp": int(report.started.timestamp() * 1000)}
    for name, value in figures(report).items():
        client.log_metric(run, f"{FOLDER}.{name}", value, **step)
    for name, text in tags(report).items():
        client.set_tag(run, f"{FOLDER}.{name}", text)
    client.log_artifacts(run, str(reports), FOLDER)


def figures(report: PublicReport) -> dict[str, float]:
    """Every measured figure by its id, and the ends of its interval."""
    from reid_audit.report.wire import PublicMeasured

    found: dict[str, float] = {}
    for row in report.measurements:
        if isinstance(row, PublicMeasured):
            found[row.metric.value] = row.value
            if row.low is not None and row.high is not None:
                found |= {f"{row.metric.value}.low": row.low, f"{row.metric.value}.high": row.high}
    return found


def tags(report: PublicReport) -> dict[str, str]:
    """What a person looks for in a list of runs."""
    return {
        "verdict": report.verdict.outcome.value,
        "checkpoint_sha256": report.checkpoint.sha256,
        "policy_sha256": report.policy_sha256,
        "version": report.tool.version,
        "breaches": ", ".join(metric.value for metric in report.verdict.breaches),
    }
