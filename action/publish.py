"""Fifth step, where asked: one comment on the pull request, and findings for code scanning. Standard library only.

Neither decides anything: what GitHub refuses is a warning.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from commands import annotate, load_event, say

MAX_COMMENT = 60_000  # GitHub takes 65,536 characters.
PAGES = 10
"""Of 100 comments each, in which an earlier one of ours is looked for."""


class RefusedError(Exception):
    """GitHub did not do it."""


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call of the REST API. Raises RefusedError."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['TOKEN']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise RefusedError(f"{method} {path.partition('?')[0]}: {error.code}") from error
    except (OSError, ValueError) as error:
        raise RefusedError(f"{method} {path.partition('?')[0]}: {type(error).__name__}") from error


def mark() -> str:
    """What tells the comment of this job from all others."""
    place = f"{os.environ.get('GITHUB_WORKFLOW', '')}/{os.environ.get('GITHUB_JOB', '')}"
    return f"<!-- reid-audit {''.join(c for c in place if c.isalnum() or c in '/_ ')} -->"


def earlier(number: int) -> int | None:
    """The comment that a bot left for this job before; what people wrote is never changed."""
    for page in range(1, PAGES + 1):
        found = ask("GET", f"issues/{number}/comments?per_page=100&page={page}")
        for comment in found:
            if comment["user"]["type"] == "Bot" and str(comment["body"]).startswith(mark()):
                return int(comment["id"])
        if len(found) < 100:
            break
    return None


def comment(number: int, text: str) -> None:
    """Write the comment of this job, or put ``text`` in the place of its earlier one. Raises RefusedError."""
    if len(text) > MAX_COMMENT:
        text = text[:MAX_COMMENT].rpartition("\n")[0] + "\n\nCut here; the whole text is in the step summary.\n"
    body = {"body": f"{mark()}\n{text}"}
    known = earlier(number)
    if known is None:
        ask("POST", f"issues/{number}/comments", body)
    else:
        ask("PATCH", f"issues/comments/{known}", body)


def upload(report: str, checkpoint: str) -> None:
    """Send one SARIF to code scanning, in a category of its checkpoint. Raises RefusedError."""
    document = json.loads(Path(report).read_text(encoding="utf-8"))
    for run in document["runs"]:
        run["automationDetails"] = {"id": f"reid-audit/{checkpoint}/"}
    packed = base64.b64encode(gzip.compress(json.dumps(document).encode(), mtime=0)).decode()
    at = {"commit_sha": os.environ["GITHUB_SHA"], "ref": os.environ["GITHUB_REF"]}
    ask("POST", "code-scanning/sarifs", {**at, "sarif": packed, "tool_name": "reid-audit"})


def main() -> int:
    if os.environ["INPUT_COMMENT"] == "true":
        try:
            number = load_event().get("pull_request", {}).get("number")
            if number is None:
                say("reid-audit: no pull request to comment on")
            else:
                comment(int(number), Path(os.environ["TEXT"]).read_text(encoding="utf-8"))
        except (RefusedError, OSError, ValueError, KeyError, TypeError) as error:
            annotate("warning", f"No comment was written ({error}); it needs pull-requests: write.", "reid-audit")
    if os.environ["INPUT_UPLOAD_SARIF"] == "true":
        try:
            for one in json.loads(os.environ["RESULTS"]):
                report = Path(one["report-json"]).with_name("report.sarif")
                if one["report-json"] and report.is_file():
                    upload(str(report), one["checkpoint"])
        except (RefusedError, OSError, ValueError, KeyError, TypeError) as error:
            annotate("warning", f"No SARIF was uploaded ({error}); it needs security-events: write.", "reid-audit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
