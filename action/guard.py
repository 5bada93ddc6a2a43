"""First step: refuse events on which strangers' files would meet this repository's secrets and films."""

from __future__ import annotations

import os
import sys
from typing import Any

from commands import NOT_AUDITED, annotate, load_event


def refusal(name: str, payload: dict[str, Any]) -> str | None:
    """Why this event is refused, or None. Whether a job holds secrets cannot be seen from here, so any fork is."""
    if name == "pull_request_target":
        return "pull_request_target gives a stranger's change the secrets of this repository; use pull_request."
    if "pull_request" in payload:
        pull = payload["pull_request"]
        if not same_repository(pull["head"].get("repo"), pull["base"].get("repo")):
            return "Pull requests from forks are refused; push the branch to this repository after reading it."
    elif "workflow_run" in payload:
        run = payload["workflow_run"]
        if not same_repository(run.get("head_repository"), payload.get("repository")):
            return "This workflow_run was started from a fork."
    elif name.startswith("pull_request"):
        return "The event says nothing about the pull request."
    return None


def same_repository(head: dict[str, Any] | None, base: dict[str, Any] | None) -> bool:
    """False for a fork, and for a fork that was deleted."""
    return bool(head and base and head["full_name"] == base["full_name"])


def main() -> int:
    try:
        reason = refusal(os.environ["GITHUB_EVENT_NAME"], load_event())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"The event cannot be read ({type(error).__name__})."
    if reason is None:
        return 0
    annotate("error", reason, "reid-audit refused")
    return NOT_AUDITED


if __name__ == "__main__":
    sys.exit(main())
