"""What the steps say to the runner: annotations, outputs, the event. Standard library only."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Literal

Level = Literal["error", "warning"]
NOT_AUDITED = 3
LATEST = "latest"
"""Below out-dir: leads to the folder of the run that finished last."""
REPORTS = {
    "json": "report.json",
    "markdown": "report.md",
    "html": "report.html",
    "sarif": "report.sarif",
    "junit": "report.junit.xml",
    "data-protection": "data-protection.html",
}


POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file of Git LFS begins with where its content was not fetched."""


def out_folder() -> Path:
    """Where reports are written. By default outside the workspace, so that no upload of a folder of it takes what shows
    patients along."""
    return Path(os.environ["INPUT_OUT_DIR"] or Path(os.environ["RUNNER_TEMP"], "reid-audit-report"))


def is_pointer(checkpoint: str) -> bool:
    """Whether Git LFS left its pointer in place of the weights."""
    try:
        with Path(checkpoint).open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False


def annotate(level: Level, text: str, title: str) -> None:
    """One annotation. GitHub ends a command at a line break and a property at a comma or colon."""
    name = escape(title).replace(":", "%3A").replace(",", "%2C")
    say(f"::{level} title={name}::{escape(text)}")


def escape(text: str) -> str:
    """``text`` as data of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def say(line: str) -> None:
    """A line to the log, in order with what child processes write."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def set_outputs(values: dict[str, str]) -> None:
    """Append step outputs; the random delimiter keeps a value from adding outputs of its own."""
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = secrets.token_hex(16)
            file.write(f"{name}<<{end}\n{value}\n{end}\n")


def load_event() -> dict[str, Any]:
    """The payload of the event that started the workflow. Raises OSError, ValueError."""
    payload = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    if not isinstance(payload, dict):
        raise ValueError("the event payload is not an object")
    return payload


def latest(out: Path) -> Path:
    """The folder of the run that finished last: ``latest`` is a link, or a text file with the folder's name."""
    pointer = out / LATEST
    return out / Path(pointer.read_text(encoding="utf-8").strip()).name if pointer.is_file() else pointer
