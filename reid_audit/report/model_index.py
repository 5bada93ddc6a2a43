"""The figures of a report as evaluation results of a model card, in the form of ``huggingface_hub.EvalResult``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from reid_audit.report import wording
from reid_audit.report.wire import PublicReport

KEY = "model-index"
SOURCE = "reid-audit"
TASK = {"type": "other", "name": "Re-identification audit"}
UNNAMED = "not published"


def entry(earlier: Any, report: PublicReport, link: str) -> str | None:
    """The whole entry as YAML text: the results of others as they were, and ours in the place of an earlier report's.

    earlier: what the card has under the key. None where there is nothing to say and there was nothing. Raises
    ValueError where it is not a list of models with results.
    """
    models = [] if earlier is None else earlier
    if not isinstance(models, list) or not all(
        isinstance(m, dict) and isinstance(m.get("results"), list) for m in models
    ):
        raise ValueError(f"{KEY} in its block at the top is not a list of models with results")
    others = [{**model, "results": [r for r in model["results"] if not is_ours(r)]} for model in models]
    ours = result(report, link)
    if ours is not None:
        first = others[0] if others else {"name": report.declared.model or report.architecture.name, "results": []}
        others = [{**first, "results": [*first["results"], ours]}, *others[1:]]
    if not others:
        return None
    text: str = import_module("yaml").safe_dump({KEY: others}, sort_keys=False, allow_unicode=True, width=10_000)
    return text.rstrip("\n")


def result(report: PublicReport, link: str) -> dict[str, Any] | None:
    """One result whose metrics are the measured gates of the report; None where none was measured."""
    metrics = []
    for row in report.gates:
        found = report.measured(row.metric)
        if found is not None:
            beside = {"low": found.low, "high": found.high, "control": found.control}
            metrics.append(
                {
                    "type": row.metric.value,
                    "value": found.value,
                    "name": wording.of_gate(row, report).label,
                    "args": {name: value for name, value in beside.items() if value is not None},
                }
            )
    if not metrics:
        return None
    data = {"type": "private", "name": report.declared.training_data or UNNAMED}
    return {"task": dict(TASK), "dataset": data, "metrics": metrics, "source": {"name": SOURCE, "url": link}}


def is_ours(found: Any) -> bool:
    """Whether a result of a card was written by this program."""
    source = found.get("source") if isinstance(found, dict) else None
    return isinstance(source, dict) and source.get("name") == SOURCE
