"""Fourth step: accept the verdicts of this run or none, then outputs, annotations and summary."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import NOT_AUDITED, REPORTS, Level, annotate, is_pointer, latest, out_folder, say, set_outputs

SEVERITY = runpy.run_path(str(Path(__file__).resolve().parents[1] / "reid_audit" / "severity.py"))
"""What a sweep goes by too: which of several verdicts decides, and what fail-on changes."""
CODES: dict[str, int] = SEVERITY["CODES"]
FORGIVEN: dict[str, tuple[str, ...]] = SEVERITY["FORGIVEN"]
VERDICTS = ("pass", "fail", "inconclusive")
MAX_ANNOTATIONS = 10  # GitHub shows no more of one level from one step.
MAX_SUMMARY = 1_000_000  # GitHub drops a summary over 1 MiB whole.


class NotAuditedError(Exception):
    """There is no verdict to accept."""


def accepted(code: str, report: Path, digest: str | None) -> dict[str, Any]:
    """``report`` if it belongs to the process that ended with ``code`` and the file with SHA-256 ``digest``.

    Raises NotAuditedError.
    """
    if not code:
        raise NotAuditedError("the audit did not run")
    if digest is None:
        raise NotAuditedError("the checkpoint cannot be read")
    try:
        document = json.loads(report.read_bytes())
        schema, verdict, audited = document["schema"], document["verdict"], document["checkpoint"]["sha256"]
        outcome, stated = verdict["outcome"], verdict["exit_code"]
    except FileNotFoundError as error:
        raise NotAuditedError(f"reid-audit ended with {code} and wrote no report") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAuditedError("report.json cannot be read") from error
    if schema != "reid-audit/report/2":
        raise NotAuditedError("report.json is of another version")
    if audited != digest:
        raise NotAuditedError("report.json is about other weights than the checkpoint on disk")
    if outcome not in VERDICTS or str(stated) != code or CODES[outcome] != stated:
        raise NotAuditedError(f"report.json says {outcome!r} ({stated!r}), but reid-audit ended with {code}")
    return dict(document)


def sha256(checkpoint: str) -> str | None:
    """Of the file on disk; None where it cannot be read."""
    try:
        with Path(checkpoint).open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def announce(report: dict[str, Any]) -> None:
    """Breaches as errors, gaps as warnings."""
    levels: tuple[tuple[str, Level], ...] = (("breach", "error"), ("gap", "warning"))
    for kind, level in levels:
        found = [finding for finding in report["findings"] if finding["kind"] == kind]
        shown = found if len(found) <= MAX_ANNOTATIONS else found[: MAX_ANNOTATIONS - 1]
        for finding in shown:
            annotate(level, words(finding), f"reid-audit {finding['metric'] or 'evidence'}")
        if len(shown) < len(found):
            annotate(level, f"{len(found) - len(shown)} more in the report", "reid-audit")


def words(finding: dict[str, Any]) -> str:
    """A finding in the words that the reports show; the judge's own where the document holds no others."""
    label, advice = finding.get("label", ""), finding.get("advice", "")
    said = (f"{label}:" if label else "", finding.get("sentence", ""), finding.get("cause", ""))
    text = " ".join(filter(None, (*said, f"To close it: {advice}" if advice else "")))
    return text if finding.get("sentence") else str(finding["text"])


def since(command: str, earlier: str, report: Path) -> str:
    """What changed since the ``earlier`` report, as Markdown; a warning where that is not known. Decides nothing."""
    shown = subprocess.run(
        [command, "compare", "--format=markdown", "--", earlier, str(report)], capture_output=True, check=False
    )
    if shown.returncode == 0:
        return "\n" + shown.stdout.decode(errors="replace")
    annotate("warning", f"What changed since {earlier} is not known.", "reid-audit compare")
    return ""


def summarise(text: str) -> None:
    """Append to the step summary, cut at a line where it would be too long."""
    data = text.encode()
    if len(data) > MAX_SUMMARY:
        data = data[:MAX_SUMMARY].rpartition(b"\n")[0] + b"\n\nCut here; the whole text is in report.md.\n"
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("ab") as file:
        file.write(data)


@dataclass
class Judged:
    """What is accepted of one audit."""

    checkpoint: str
    run: Path
    digest: str = ""
    verdict: str = "not_audited"
    code: int = NOT_AUDITED
    """After fail-on."""
    breaches: tuple[str, ...] = ()
    text: str = "## ⛔ reid-audit: NOT AUDITED\n\nNothing is known about these weights; the annotation says why.\n"

    def path(self, kind: str) -> str:
        """Of a report that was written and belongs to the verdict, else empty."""
        file = self.run / REPORTS[kind]
        return str(file) if self.verdict != "not_audited" and file.is_file() else ""


def judge(audit: dict[str, Any], fail_on: str) -> Judged:
    """The verdict of one audit, its findings as annotations."""
    found = Judged(audit["checkpoint"], latest(Path(audit["out"])))
    digest = sha256(found.checkpoint)
    found.digest = digest or ""
    try:
        if fail_on not in FORGIVEN:
            raise NotAuditedError(f"fail-on is {fail_on!r}, not one of {', '.join(FORGIVEN)}")
        if is_pointer(found.checkpoint):
            raise NotAuditedError("the checkpoint is a pointer of Git LFS; set lfs: true at actions/checkout")
        report = accepted(str(audit["code"]), found.run / REPORTS["json"], digest)
    except NotAuditedError as error:
        named = f"{found.checkpoint}: " if found.checkpoint else ""
        annotate("error", f"Not audited: {named}{error}. Nothing is known about these weights.", "reid-audit")
        return found
    verdict = report["verdict"]
    found.verdict, found.breaches = verdict["outcome"], tuple(verdict["breaches"])
    found.code = 0 if found.verdict in FORGIVEN[fail_on] else verdict["exit_code"]
    announce(report)
    found.text = (found.run / REPORTS["markdown"]).read_text(encoding="utf-8")
    return found


def worst(judged: list[Judged]) -> Judged:
    """The one that decides: without a verdict before fail, inconclusive and pass."""
    decided = SEVERITY["worst"](one.verdict for one in judged)
    return next(one for one in judged if one.verdict == decided)


def overview(judged: list[Judged]) -> str:
    """Several verdicts as one table, the reports folded below."""
    rows = [f"| `{inert(one.checkpoint)}` | {one.verdict} | {', '.join(one.breaches) or '–'} |" for one in judged]
    parts = [
        f"<details><summary>{inert(one.checkpoint)}: {one.verdict}</summary>\n\n{one.text}\n</details>"
        for one in judged
    ]
    head = f"## reid-audit: {len(judged)} checkpoints\n\n| checkpoint | verdict | breached |\n|---|---|---|"
    return "\n".join((head, *rows, "", *parts, ""))


def inert(name: str) -> str:
    """A file's name as text of a table."""
    return "".join(c for c in name if c.isalnum() or c in "/._-+ ")


def outputs_of(judged: list[Judged]) -> dict[str, str]:
    """What later steps read; with several checkpoints, the paths are those of the worst."""
    first = worst(judged)
    names = {"report-json": "json", "report-html": "html", "sarif": "sarif", "junit": "junit"}
    each = [
        {"checkpoint": one.checkpoint, "verdict": one.verdict, "exit-code": one.code, "report-json": one.path("json")}
        for one in judged
    ]
    return {
        **{name: first.path(kind) for name, kind in names.items()},
        "verdict": first.verdict,
        "exit-code": str(worst(judged).code),
        "checkpoint-sha256": first.digest,
        "failed-gates": ",".join(dict.fromkeys(name for one in judged for name in one.breaches)),
        "folder": str(first.run) if first.path("json") else "",
        "results": json.dumps(each),
    }


def main() -> int:
    nothing = [{"checkpoint": os.environ["INPUT_CHECKPOINT"], "out": str(out_folder()), "code": ""}]
    audits = json.loads(os.environ["AUDITS"] or "[]") or nothing
    judged = [judge(audit, os.environ["INPUT_FAIL_ON"]) for audit in audits]
    first = worst(judged)
    text = first.text if len(judged) == 1 else overview(judged)
    if (earlier := os.environ["INPUT_COMPARE_WITH"]) and first.path("json"):
        text += since(os.environ["COMMAND"], earlier, Path(first.path("json")))
    outputs = outputs_of(judged)
    summary = Path(os.environ["RUNNER_TEMP"], "reid-audit-summary.md")
    summary.write_text(text, encoding="utf-8")
    set_outputs({**outputs, "text": str(summary)})
    if os.environ["INPUT_SUMMARY"] == "true":
        summarise(text)
    say(f"reid-audit: {outputs['verdict']}, exit code {outputs['exit-code']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
