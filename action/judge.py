"""Fourth step: accept this run's verdict or none, then outputs, annotations and summary."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from commands import NOT_AUDITED, REPORTS, Level, annotate, latest, say, set_outputs

CODES = {"pass": 0, "fail": 1, "inconclusive": 4}
FORGIVEN: dict[str, tuple[str, ...]] = {
    "inconclusive": (),
    "fail": ("inconclusive",),
    "never": ("fail", "inconclusive"),
}
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
    if str(stated) != code or CODES.get(outcome) != stated:
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
    """What changed since the ``earlier`` report, as Markdown; a warning where that cannot be told. Decides nothing."""
    told = subprocess.run(
        [command, "compare", "--format=markdown", "--", earlier, str(report)], capture_output=True, check=False
    )
    if told.returncode == 0:
        return "\n" + told.stdout.decode(errors="replace")
    annotate("warning", f"What changed since {earlier} cannot be told.", "reid-audit compare")
    return ""


def summarise(text: str) -> None:
    """Append to the step summary, cut at a line where it would be too long."""
    data = text.encode()
    if len(data) > MAX_SUMMARY:
        data = data[:MAX_SUMMARY].rpartition(b"\n")[0] + b"\n\nCut here; the whole text is in report.md.\n"
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("ab") as file:
        file.write(data)


def main() -> int:
    run, fail_on = latest(Path(os.environ["INPUT_OUT_DIR"])), os.environ["INPUT_FAIL_ON"]
    digest = sha256(os.environ["INPUT_CHECKPOINT"])
    outputs = dict.fromkeys(("report-json", "report-html", "sarif", "junit", "failed-gates", "folder"), "")
    outputs |= {"verdict": "not_audited", "exit-code": str(NOT_AUDITED), "checkpoint-sha256": digest or ""}
    try:
        if fail_on not in FORGIVEN:
            raise NotAuditedError(f"fail-on is {fail_on!r}, not one of {', '.join(FORGIVEN)}")
        report = accepted(os.environ["AUDIT_CODE"], run / REPORTS["json"], digest)
    except NotAuditedError as error:
        annotate("error", f"Not audited: {error}. Nothing is known about these weights.", "reid-audit")
        text = "## ⛔ reid-audit: NOT AUDITED\n\nNothing is known about these weights; the annotation says why.\n"
    else:
        verdict = report["verdict"]
        code = 0 if verdict["outcome"] in FORGIVEN[fail_on] else verdict["exit_code"]
        outputs |= {
            "verdict": verdict["outcome"],
            "exit-code": str(code),
            "failed-gates": ",".join(verdict["breaches"]),
            "folder": str(run),
        }
        names = {"report-json": "json", "report-html": "html", "sarif": "sarif", "junit": "junit"}
        paths = {name: run / REPORTS[kind] for name, kind in names.items()}
        outputs |= {name: str(path) for name, path in paths.items() if path.is_file()}
        announce(report)
        text = (run / REPORTS["markdown"]).read_text(encoding="utf-8")
        if earlier := os.environ["INPUT_COMPARE_WITH"]:
            text += since(os.environ["COMMAND"], earlier, run / REPORTS["json"])
    set_outputs(outputs)
    if os.environ["INPUT_SUMMARY"] == "true":
        summarise(text)
    say(f"reid-audit: {outputs['verdict']}, exit code {outputs['exit-code']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
