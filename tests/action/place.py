"""A workspace with a checkpoint and prepared reports, in which the steps of action.yml are run."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from reid_audit.records import AuditResult
from reid_audit.report import publish, write_reports

FOLDER = Path(__file__).resolve().parent
WEIGHTS = b"weights, as far as the steps can tell"
SHA = hashlib.sha256(WEIGHTS).hexdigest()


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"action_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = load(FOLDER / "runner.py")
results = load(FOLDER.parent / "report" / "results.py")


@dataclass
class Place:
    """A workspace with a checkpoint, and the reports the fake command will write."""

    workspace: Path
    temp: Path
    prepared: Path
    links: bool = True
    """False: the file system knows no links."""
    github: dict[str, str] = field(default_factory=dict)
    """More variables of the runner."""

    @staticmethod
    def make(folder: Path) -> Place:
        """The three folders below ``folder``, with a checkpoint."""
        found = Place(folder / "workspace", folder / "temp", folder / "prepared")
        for part in (found.workspace, found.temp, found.prepared):
            part.mkdir()
        (found.workspace / "model.pt").write_bytes(WEIGHTS)
        return found

    def run(
        self, code: int, event: str = "push", payload: dict[str, Any] | None = None, **inputs: str
    ) -> Any:  # runner.Job, which is loaded by path
        runner.fake_command(self.temp, self.prepared, code, links=self.links)
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        given = {"checkpoint": "model.pt", "version": "preinstalled", **given}
        return runner.run_action(self.workspace, self.temp, given, event, payload or {}, self.github)

    def write(self, result: AuditResult, sha256: str = SHA) -> None:
        checkpoint = result.checkpoint.model_copy(update={"sha256": sha256})
        write_reports(publish(result.model_copy(update={"checkpoint": checkpoint})), self.prepared)

    def report(self) -> Path:
        """Where the latest run's reports are."""
        return self.temp / "reid-audit-report" / "latest"


def notes_of(job: Any, level: str) -> list[str]:
    return [line for line in job.log.splitlines() if line.startswith(f"::{level} ")]


def edit(place: Place, change: Callable[[dict[str, Any]], None]) -> None:
    """Prepare a passing report, changed."""
    place.write(results.passing())
    document = json.loads((place.prepared / "report.json").read_text(encoding="utf-8"))
    change(document)
    (place.prepared / "report.json").write_text(json.dumps(document), encoding="utf-8")
