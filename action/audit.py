"""Third step: run ``reid-audit check`` for each checkpoint. Output: audits. The step succeeds whatever the verdicts."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import LATEST, NOT_AUDITED, annotate, load_event, out_folder, say, set_outputs

DEFAULTS = {"policy": ("reid-audit.toml", "pyproject.toml"), "waivers": ("reid-audit-waivers.toml",)}
LONGEST_NAME = 120
"""Characters that reid-audit takes."""


class BaseError(Exception):
    """Policy or waivers cannot be read from the base ref."""


class OutsideError(Exception):
    """A checkpoint that is not where it says."""


def main() -> int:
    try:
        asked = checkpoints()
    except OutsideError as error:
        annotate("error", str(error), "reid-audit")
        return NOT_AUDITED
    if not asked:
        annotate("error", "checkpoint is empty and checkpoints matches no file.", "reid-audit")
        return NOT_AUDITED
    outs = folders(asked)
    try:
        for out in outs:
            (out / LATEST).unlink(missing_ok=True)  # a verdict may come from this run only
    except OSError:
        annotate("error", f"{LATEST} in out-dir is no link and cannot be removed; clear out-dir.", "reid-audit")
        return NOT_AUDITED
    base = base_commit(load_event())
    with tempfile.TemporaryDirectory(dir=os.environ["RUNNER_TEMP"]) as scratch:
        files = {"policy": os.environ["INPUT_POLICY"], "waivers": os.environ["INPUT_WAIVERS"]}
        if base:
            try:
                files = {role: str(from_base(base, role, given, Path(scratch))) for role, given in files.items()}
            except BaseError as error:
                annotate("error", str(error), "reid-audit")
                return NOT_AUDITED
            say(f"policy and waivers: as of the base, {base}")
        audits = [
            {
                "checkpoint": checkpoint,
                "out": str(out),
                "code": run(
                    [os.environ["COMMAND"], "check", *options(files, out), *known_as(checkpoint), "--", checkpoint]
                ),
            }
            for checkpoint, out in zip(asked, outs, strict=True)
        ]
    set_outputs({"audits": json.dumps(audits)})
    return 0


def checkpoints() -> list[str]:
    """What is audited: the one that is named, and the files that the globs match, one glob a line, each file once.

    A link counts as the file it leads to. Raises OutsideError where that is not in the workspace: what would be
    released must not go unseen, and what another user can see must not be read for them.
    """
    named = [os.environ["INPUT_CHECKPOINT"]] if os.environ["INPUT_CHECKPOINT"] else []
    workspace = Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    for glob in filter(None, map(str.strip, os.environ["INPUT_CHECKPOINTS"].splitlines())):
        matched = sorted(p for p in workspace.glob(glob.lstrip("/")) if p.is_file() or p.is_symlink())
        if not matched:
            annotate("warning", f"No file matches {glob} of checkpoints.", "reid-audit")
        for path, file in ((path, path.resolve()) for path in matched):
            if not file.is_file() or not file.is_relative_to(workspace):
                raise OutsideError(f"{path.relative_to(workspace)} is a link to no file of the workspace.")
            named.append(file.relative_to(workspace).as_posix())
    return list(dict.fromkeys(named))


def folders(asked: list[str]) -> list[Path]:
    """One folder of runs for each checkpoint; for one alone that of the reports itself."""
    if len(asked) == 1:
        return [out_folder()]
    return [out_folder() / f"{number:02}-{Path(name).stem}" for number, name in enumerate(asked, start=1)]


def base_commit(payload: dict[str, Any]) -> str | None:
    """What a pull request or a merge queue is compared with; None on other events."""
    if "pull_request" in payload:
        return str(payload["pull_request"]["base"]["sha"])
    return str(payload["merge_group"]["base_sha"]) if "merge_group" in payload else None


def options(files: dict[str, str], out: Path) -> list[str]:
    """Flags, each as one word, so that no input can be read as another flag. ``--fail-on`` is applied by judge.py."""
    given = dict(files)
    for name in ("reference", "holdout", "label", "prior", "base", "budget", "profile", "device"):
        given[name] = os.environ[f"INPUT_{name.upper()}"]
    wanted = {word.strip() for word in os.environ["INPUT_FORMATS"].split(",")} - {""} | {"json", "markdown"}
    return [
        *(f"--{name}={value}" for name, value in given.items() if value),
        *(f"--format={name}" for name in sorted(wanted)),
        f"--out={out}",
        "--fail-on=inconclusive",
    ]


def known_as(checkpoint: str) -> list[str]:
    """The flag with the path by which the repository knows ``checkpoint``, for reports; none where it holds none."""
    workspace = Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    file = (workspace / checkpoint).resolve()
    inside = file.relative_to(workspace).as_posix() if file.is_file() and file.is_relative_to(workspace) else ""
    return [f"--published-as={inside}"] if 0 < len(inside) <= LONGEST_NAME else []


def run(command: list[str]) -> int:
    """The exit code. What the tool says may quote the audited file, so workflow commands are off meanwhile."""
    token = secrets.token_hex(16)
    say(f"::stop-commands::{token}")
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        say(f"\n::{token}::")


def from_base(base: str, role: str, given: str, scratch: Path) -> Path:
    """A copy of the policy or waiver file as of commit ``base``: a change cannot loosen its own gate.

    A file outside the repository is not part of the change and is used as it is; one the base does not have counts
    as empty, which means the defaults. Raises BaseError.
    """
    workspace = os.path.normpath(os.environ["GITHUB_WORKSPACE"])
    for name in (given,) if given else DEFAULTS[role]:
        # By the name, not through links: a link may be part of the change.
        path = os.path.normpath(Path(workspace, name))
        if os.path.commonpath((workspace, path)) != workspace:
            return Path(path)
        inside = os.path.relpath(path, workspace)
        text = blob(workspace, base, inside)
        if text is not None:
            copy = scratch / role / Path(inside).name
            copy.parent.mkdir()
            copy.write_bytes(text)
            return copy
    empty = scratch / f"no-{role}.toml"
    empty.touch()
    return empty


def blob(workspace: str, base: str, inside: str) -> bytes | None:
    """The file at commit ``base``, None where it has none. Raises BaseError."""
    if git(workspace, "cat-file", "-e", f"{base}^{{commit}}") is None:
        git(workspace, "fetch", "--quiet", "--no-tags", "--depth=1", "origin", base)
    listed = git(workspace, "ls-tree", "--full-tree", "-z", base, "--", inside)
    if listed is None:
        raise BaseError(f"The base commit {base} is not here; check out with fetch-depth: 0.")
    if not listed:
        return None
    text = git(workspace, "show", "--no-textconv", f"{base}:{inside}")
    if text is None or not listed.startswith(b"100"):
        raise BaseError(f"{inside} is not a readable file at the base commit {base}.")
    return text


def git(workspace: str, *arguments: str) -> bytes | None:
    """What git prints, None where it fails."""
    # In a container job the workspace belongs to another user.
    command = ["git", "-c", f"safe.directory={workspace}", "-C", workspace, *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
